#include "tests/lab/lab_device.hpp"

#include <csignal>
#include <fstream>
#include <iostream>
#include <utility>

#include "base/error.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {

LabDevice::LabDevice(std::string name, const std::vector<std::string>& command)
    : name_(std::move(name)) {
    const Outcome made = run(command, Seconds(90));
    if (made.status != 0) {
        throw Error("{} {}: {}{}", command.front(), name_, made.out, made.err);
    }
    path_ = made.out.substr(0, made.out.find('\n'));
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
      path_(std::move(other.path_)),
      daemon_(other.daemon_) {}

LabDevice::~LabDevice() {
    if (name_.empty()) return;
    const Outcome removed = run({"remove-vdpa", name_}, Seconds(90));
    if (removed.status != 0) std::cerr << "remove-vdpa " << name_ << ": " << removed.err;
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

bool LabDevice::daemon_lives() const {
    return daemon_ > 0 && ::kill(daemon_, 0) == 0;
}

}  // namespace viaduct::test
