#include "vdpa/management/persistent_binding.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <string_view>

#include "base/error.hpp"
#include "vdpa/management/kernel_file.hpp"

namespace viaduct::management {
namespace {

namespace fs = std::filesystem;

/// Whether it may stand in a rule and in a file's name without having a meaning there. The kernel
/// takes other names too.
bool can_have_a_rule(const std::string& device) {
    constexpr std::string_view allowed =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:";
    return !device.empty() && device.find_first_not_of(allowed) == std::string::npos;
}

void check_name(const std::string& device) {
    if (can_have_a_rule(device)) return;
    throw Error("the name '{}' cannot stand in a rule for udev: letters, digits and _ - . : can",
                device);
}

Driver other(Driver driver) {
    return driver == Driver::vhost ? Driver::virtio : Driver::vhost;
}

[[noreturn]] void throw_file_error(const fs::path& path, int error) {
    if (error == EACCES || error == EPERM) {
        throw Error("{} may not be changed by this user: run as root", path.string());
    }
    throw SystemError(path.string(), error);
}

}  // namespace

fs::path rule_path(const Roots& roots, const std::string& device) {
    check_name(device);
    return roots.etc / "udev/rules.d" / ("90-viaduct-vdpa-" + device + ".rules");
}

std::string rule_text(const std::string& device, Driver driver) {
    check_name(device);
    const std::string match =
        fmt::format(R"(ACTION=="add", SUBSYSTEM=="vdpa", KERNEL=="{}")", device);
    const std::string wanted = kernel_name(driver);
    // A driver that was loaded before the rule ran may have it already; its unbind fails where not,
    // and so does the bind while the wanted one is not loaded: the last line then makes it come,
    // and it takes what is its own.
    return fmt::format(
        "# The driver of vDPA device {0}, kept by viaductctl devices bind {0} {1} --persist;\n"
        "# viaductctl devices del {0} removes this file.\n"
        "{2}, ATTR{{driver_override}}=\"{3}\"\n"
        "{2}, DRIVER==\"{4}\", ATTR{{[drivers/vdpa:{4}]unbind}}=\"{0}\"\n"
        "{2}, DRIVER!=\"{3}\", TEST==\"[drivers/vdpa:{3}]bind\", "
        "ATTR{{[drivers/vdpa:{3}]bind}}=\"{0}\"\n"
        "{2}, RUN{{builtin}}+=\"kmod load {3}\"\n",
        device, driver == Driver::vhost ? "vhost" : "virtio", match, wanted,
        kernel_name(other(driver)));
}

std::optional<Driver> persistent_driver(const Roots& roots, const std::string& device) {
    if (!can_have_a_rule(device)) return std::nullopt;
    const auto text = read_kernel_file(rule_path(roots, device));
    if (!text) return std::nullopt;
    for (const Driver driver : std::array{Driver::vhost, Driver::virtio}) {
        const std::string assignment =
            fmt::format("ATTR{{driver_override}}=\"{}\"", kernel_name(driver));
        if (text->find(assignment) != std::string::npos) return driver;
    }
    return std::nullopt;
}

void keep_driver(const Roots& roots, const std::string& device, Driver driver) {
    const fs::path path = rule_path(roots, device);
    std::error_code failed;
    fs::create_directories(path.parent_path(), failed);
    if (failed) throw_file_error(path.parent_path(), failed.value());
    // udev sees either rule whole: the new one takes the old one's place.
    const fs::path fresh = path.string() + ".new";
    std::ofstream out(fresh);
    if (!out) throw_file_error(path, errno);
    out << rule_text(device, driver);
    out.close();
    if (!out) throw_file_error(path, errno);
    fs::rename(fresh, path, failed);
    if (failed) throw_file_error(path, failed.value());
}

bool forget_driver(const Roots& roots, const std::string& device) {
    if (!can_have_a_rule(device)) return false;
    const fs::path path = rule_path(roots, device);
    std::error_code failed;
    const bool there_was = fs::remove(path, failed);
    if (failed) throw_file_error(path, failed.value());
    return there_was;
}

}  // namespace viaduct::management
