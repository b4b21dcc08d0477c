#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/error.hpp"
#include "vdpa/soft/image/open_image.hpp"
#include "vmm/programs/network_images.hpp"

namespace viaduct::vmm {
namespace {

constexpr const char* program_with_them = "viaduct-network";

}  // namespace

void prepare_network_images(const Config& config, char** argv) {
    const auto device = std::find_if(
        config.devices.begin(), config.devices.end(),
        [](const DeviceConfig& one) { return soft::network_image(one.image).has_value(); });
    if (device == config.devices.end()) return;
    std::error_code ignored;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
    const std::string program = self.parent_path() / program_with_them;
    ::execv(program.c_str(), argv);
    const SystemError reason(program);
    throw Error(
        "image '{}' is on a network, which takes another program than this one, and it does not "
        "start ({}): build it with -DVIADUCT_NBD=ON (package libnbd-dev) or -DVIADUCT_RBD=ON "
        "(librbd-dev), and keep it beside viaduct",
        device->image, reason.what());
}

}  // namespace viaduct::vmm
