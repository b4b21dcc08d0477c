#include "tests/lab/linux_guest.hpp"

#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

const std::string images = VIADUCT_SOURCE_DIR "/build/guest-images/linux/";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw Error("cannot read {}: guest-images/linux/build makes the guest's images", path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// One file of a "newc" archive (Linux,
/// Documentation/driver-api/early-userspace/buffer-format.rst).
std::string archive_entry(const std::string& name, unsigned mode, const std::string& content) {
    // inode, mode, uid, gid, links, mtime, size, 4 device numbers, name's size with its zero,
    // checksum
    std::string entry = fmt::format(
        "070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}", 0,
        mode, 0, 0, 1, 0, content.size(), 0, 0, 0, 0, name.size() + 1, 0);
    const auto pad = [&entry] { entry.resize((entry.size() + 3) / 4 * 4); };
    entry += name + '\0';
    pad();
    entry += content;
    pad();
    return entry;
}

/// The common initial file system with the shell as its /script.
std::string make_initrd(const std::string& path) {
    std::ofstream(path, std::ios::binary)
        << read_file(images + "initramfs.cpio")
        << archive_entry("script", S_IFREG | 0755,
                         read_file(VIADUCT_SOURCE_DIR "/tests/lab/serial-shell"))
        << archive_entry("TRAILER!!!", 0, "");
    return path;
}

std::string kernel_command_line(const LinuxGuestOptions& options) {
    return guest_command_line + (' ' + options.append);
}

std::vector<std::string> viaduct_command(const LinuxGuestOptions& options,
                                         const TemporaryDirectory& directory) {
    // Devices that pin guest memory want it allowed.
    std::vector<std::string> command{"prlimit",         "--memlock=unlimited",
                                     viaduct_program(), "run",
                                     "--kernel",        images + options.kernel,
                                     "--initrd",        make_initrd(directory.path("initrd")),
                                     "--append",        kernel_command_line(options),
                                     "--memory",        options.memory,
                                     "--cpus",          std::to_string(options.cpus),
                                     "--serial",        "unix:" + directory.path("serial"),
                                     "--qmp",           "unix:" + directory.path("qmp"),
                                     "--debug-exit"};
    for (const std::string& device : options.devices) {
        command.emplace_back("--device");
        command.push_back(device);
    }
    return command;
}

std::vector<std::string> qemu_command(const LinuxGuestOptions& options,
                                      const TemporaryDirectory& directory) {
    const auto socket = [&](const std::string& name) {
        return "unix:" + directory.path(name) + ",server=on,wait=off";
    };
    std::vector<std::string> command{"qemu-system-x86_64",
                                     "-nodefaults",
                                     "-no-user-config",
                                     "-no-reboot",
                                     "-display",
                                     "none",
                                     "-M",
                                     "q35,usb=off,sata=off,smbus=off",
                                     "-accel",
                                     "kvm",
                                     "-cpu",
                                     "host",
                                     "-bios",
                                     "/usr/share/qemu/qboot.rom",
                                     "-kernel",
                                     images + options.kernel,
                                     "-initrd",
                                     make_initrd(directory.path("initrd")),
                                     "-append",
                                     kernel_command_line(options),
                                     "-m",
                                     options.memory,
                                     "-smp",
                                     std::to_string(options.cpus),
                                     "-serial",
                                     socket("serial"),
                                     "-qmp",
                                     socket("qmp"),
                                     "-device",
                                     "isa-debug-exit,iobase=0xf4,iosize=4"};
    command.insert(command.end(), options.qemu_arguments.begin(), options.qemu_arguments.end());
    return command;
}

std::vector<std::string> command_of(const LinuxGuestOptions& options,
                                    const TemporaryDirectory& directory) {
    return options.vmm == GuestsVmm::viaduct ? viaduct_command(options, directory)
                                             : qemu_command(options, directory);
}

}  // namespace

LinuxGuest::LinuxGuest(const LinuxGuestOptions& options)
    : process_(command_of(options, directory_), Seconds(3600)),
      serial_(directory_.path("serial"), process_),
      qmp_(directory_.path("qmp"), std::chrono::seconds(60)) {
    qmp_.negotiate();
    wait_until_ready();
}

std::unique_ptr<tests::QmpClient> LinuxGuest::client() const {
    auto client =
        std::make_unique<tests::QmpClient>(directory_.path("qmp"), std::chrono::seconds(60));
    client->negotiate();
    return client;
}

void LinuxGuest::wait_until_ready(Seconds limit) {
    serial_.read_until("guest: ready\n", limit);
}

Answer LinuxGuest::sh(std::string_view command, Seconds limit) {
    begin(command);
    return finish(limit);
}

std::string LinuxGuest::expect(const std::string& command) {
    const Answer answer = sh(command, patience * repeated(1));
    EXPECT_EQ(answer.status, 0) << command << '\n' << answer.out;
    return answer.out;
}

void LinuxGuest::begin(std::string_view command) {
    serial_.send_line(command);
}

Answer LinuxGuest::finish(Seconds limit) {
    Answer answer;
    answer.out = serial_.read_until("\nguest: status ", limit);
    answer.status = std::stoi(serial_.read_until("\n", limit));
    while (answer.out.ends_with('\n')) answer.out.pop_back();
    return answer;
}

Outcome LinuxGuest::wait() {
    Outcome outcome = process_.wait();
    outcome.out = serial_.rest();
    return outcome;
}

}  // namespace viaduct::test
