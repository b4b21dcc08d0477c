#include "tests/lab/lab_device.hpp"

#include <fcntl.h>
#include <linux/vduse.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {

LabDevice::LabDevice(std::string name, std::vector<std::string> command)
    : name_(std::move(name)), command_(std::move(command)) {
    make();
}

void LabDevice::make() {
    const Outcome made = run(command_, Seconds(90));
    if (made.status != 0) {
        throw Error("{} {}: {}{}", command_.front(), name_, made.out, made.err);
    }
    path_ = made.out.substr(0, made.out.find('\n'));
    read_daemon();
}

void LabDevice::read_daemon() {
    std::ifstream("/run/viaduct/" + name_ + ".pid") >> daemon_;
}

LabDevice LabDevice::vduse(const std::string& name, const std::string& image,
                           const std::vector<std::string>& options) {
    std::vector<std::string> command{"export-vduse"};
    command.insert(command.end(), options.begin(), options.end());
    command.push_back(name);
    command.push_back(image);
    return {name, command};
}

LabDevice LabDevice::simulated_disk(const std::string& name) {
    return {name, {"add-sim", "blk", name}};
}

LabDevice LabDevice::simulated_net(const std::string& name) {
    return {name, {"add-sim", "net", name}};
}

LabDevice LabDevice::hardware(const std::string& name, const std::string& disk) {
    return {name, {"bind-vp-vdpa", disk, name}};
}

LabDevice::LabDevice(LabDevice&& other) noexcept
    : name_(std::exchange(other.name_, {})),
      command_(std::move(other.command_)),
      path_(std::move(other.path_)),
      daemon_(other.daemon_) {}

LabDevice::~LabDevice() {
    if (name_.empty()) return;
    try {
        take_down();
    } catch (const Error& failure) {
        std::cerr << failure.what() << '\n';
    }
}

void LabDevice::take_down() const {
    const Outcome removed = run({"remove-vdpa", name_}, Seconds(90));
    if (removed.status != 0) throw Error("remove-vdpa {}: {}", name_, removed.err);
    // A daemon that was killed has left its half of the device behind.
    if (!std::filesystem::exists("/dev/vduse/" + name_)) return;
    const Fd control(::open("/dev/vduse/control", O_RDWR | O_CLOEXEC));
    std::array<char, VDUSE_NAME_MAX> name{};
    std::ranges::copy(name_, name.begin());
    if (::ioctl(control.get(), VDUSE_DESTROY_DEV, name.data()) != 0) {
        throw SystemError("removing " + name_ + " from VDUSE");
    }
}

std::string LabDevice::option(const std::string& properties) const {
    return "vdpa,path=" + path_ + ",id=" + name_ + (properties.empty() ? "" : "," + properties);
}

void limit_iotlb_entries(unsigned limit) {
    // A parameter is set when the module is loaded.
    run({"modprobe", "-r", "vhost_vdpa"});
    const Outcome loaded =
        run({"modprobe", "vhost_vdpa", "max_iotlb_entries=" + std::to_string(limit)});
    unsigned found = 0;
    std::ifstream("/sys/module/vhost_vdpa/parameters/max_iotlb_entries") >> found;
    if (found != limit) {
        throw Error("the limit of IOTLB entries is {}, not {}: {}", found, limit, loaded.err);
    }
}

void LabDevice::signal_daemon(int signal) const {
    if (::kill(daemon_, signal) != 0) throw SystemError("the daemon of " + name_);
}

void LabDevice::kill_daemon() const {
    signal_daemon(SIGKILL);
    while (daemon_lives()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void LabDevice::restart_daemon() {
    std::vector<std::string> command = command_;
    command.insert(command.begin() + 1, "--again");
    const Outcome made = run(command, Seconds(90));
    if (made.status != 0) throw Error("{}: {}{}", name_, made.out, made.err);
    read_daemon();
}

void LabDevice::replace() {
    const std::string before = path_;
    take_down();
    make();
    if (path_ != before) throw Error("{} is {} now, and was {}", name_, path_, before);
}

void LabDevice::set_message_timeout(unsigned seconds) const {
    const std::string path = "/sys/class/vduse/" + name_ + "/msg_timeout";
    std::ofstream(path) << seconds;
    unsigned found = 0;
    std::ifstream(path) >> found;
    if (found != seconds) throw Error("{} is {}, not {}", path, found, seconds);
}

bool LabDevice::daemon_lives() const {
    return daemon_ > 0 && ::kill(daemon_, 0) == 0;
}

}  // namespace viaduct::test
