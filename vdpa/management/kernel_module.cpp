#include "vdpa/management/kernel_module.hpp"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "base/error.hpp"
#include "vdpa/management/kernel_file.hpp"
#include "vdpa/management/libkmod.hpp"

namespace viaduct::management {
namespace {

namespace fs = std::filesystem;

/// Which option of the kernel's configuration makes a module.
struct ModuleOrigin {
    std::string_view module;
    std::string_view option;
    bool debian_has_it;
};

constexpr std::array origins{
    ModuleOrigin{"vdpa", "CONFIG_VDPA", true},
    ModuleOrigin{"vhost_vdpa", "CONFIG_VHOST_VDPA", true},
    ModuleOrigin{"virtio_vdpa", "CONFIG_VIRTIO_VDPA", true},
    ModuleOrigin{"vduse", "CONFIG_VDPA_USER", true},
    ModuleOrigin{"vdpa_sim_blk", "CONFIG_VDPA_SIM_BLOCK", false},
    ModuleOrigin{"vdpa_sim_net", "CONFIG_VDPA_SIM_NET", false},
};

/// As the kernel names modules: files may have '-' for '_', and are called NAME.ko, NAME.ko.xz, ….
std::string module_in(std::string_view path) {
    std::string name(path.substr(path.rfind('/') + 1));
    name.erase(std::min(name.find(".ko"), name.size()));
    std::ranges::replace(name, '-', '_');
    return name;
}

/// modules.dep(5) and modules.builtin: a module's path first on each line.
bool lists_module(const fs::path& index, const std::string& module) {
    std::ifstream lines(index);
    for (std::string line; std::getline(lines, line);) {
        if (module_in(std::string_view(line).substr(0, line.find(':'))) == module) return true;
    }
    return false;
}

}  // namespace

std::string kernel_release() {
    utsname names{};
    ::uname(&names);
    return std::data(names.release);
}

ModuleState module_state(const Roots& roots, const std::string& module,
                         const std::string& release) {
    const fs::path present = roots.sys / "module" / module;
    // Modules that are part of the kernel have a directory if they have parameters, but no state.
    if (fs::exists(present / "initstate")) return ModuleState::loaded;
    const fs::path tree = roots.modules / release;
    if (fs::exists(present) || lists_module(tree / "modules.builtin", module)) {
        return ModuleState::built_in;
    }
    return lists_module(tree / "modules.dep", module) ? ModuleState::available
                                                      : ModuleState::missing;
}

std::optional<std::string> module_parameter(const Roots& roots, const std::string& module,
                                            const std::string& parameter) {
    return read_kernel_file(roots.sys / "module" / module / "parameters" / parameter);
}

std::string remedy_for_missing(const std::string& module) {
    const auto* const origin = std::ranges::find(origins, module, &ModuleOrigin::module);
    if (origin == origins.end()) return "a kernel that has it is needed";
    if (!origin->debian_has_it) {
        return fmt::format("a kernel with {} is needed; Debian's have not", origin->option);
    }
    return fmt::format(
        "a kernel with {} is needed; on Debian 12: apt-get install linux-image-6.12-amd64, and "
        "reboot into it",
        origin->option);
}

void load_module(const std::string& module) {
    const ModuleState state = module_state({}, module);
    if (state == ModuleState::loaded || state == ModuleState::built_in) return;
    const std::string release = kernel_release();
    if (state == ModuleState::missing) {
        throw Error("kernel {} has no module {}: {}", release, module, remedy_for_missing(module));
    }
    const int error = Libkmod().insert(module);
    if (error == EPERM || error == EACCES) {
        throw Error("loading the module {} is not permitted to this user: run as root", module);
    }
    if (error != 0) {
        throw SystemError(fmt::format("loading the module {} into kernel {} (dmesg may tell more)",
                                      module, release),
                          error);
    }
}

}  // namespace viaduct::management
