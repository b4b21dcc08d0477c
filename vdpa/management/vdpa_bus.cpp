#include "vdpa/management/vdpa_bus.hpp"

#include <cstdlib>
#include <sstream>
#include <thread>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "vdpa/management/kernel_file.hpp"

namespace viaduct::management {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// sysfs has a node's number as "MAJOR:MINOR".
std::optional<NodeNumber> number_in(const fs::path& file, NodeNumber::Kind kind) {
    const auto text = read_kernel_file(file);
    if (!text) return std::nullopt;
    NodeNumber number{.kind = kind};
    char colon = 0;
    std::istringstream in(*text);
    in >> number.major >> colon >> number.minor;
    return in && colon == ':' ? std::optional(number) : std::nullopt;
}

std::optional<DeviceNode> vhost_node(const fs::path& device, const Roots& roots) {
    const auto names = names_in(device, "vhost-vdpa-");
    if (names.empty()) return std::nullopt;
    DeviceNode node{
        .kind = DeviceNode::Kind::vhost, .name = roots.dev / names.front(), .numbers = {}};
    const auto number = number_in(device / names.front() / "dev", NodeNumber::Kind::character);
    if (number) node.numbers.push_back(*number);
    return node;
}

std::optional<DeviceNode> disk_node(const fs::path& virtio, const Roots& roots) {
    const auto names = names_in(virtio / "block");
    if (names.empty()) return std::nullopt;
    const std::string& disk = names.front();
    DeviceNode node{.kind = DeviceNode::Kind::block, .name = roots.dev / disk, .numbers = {}};
    const fs::path directory = virtio / "block" / disk;
    if (const auto whole = number_in(directory / "dev", NodeNumber::Kind::block)) {
        node.numbers.push_back(*whole);
    }
    for (const std::string& partition : names_in(directory, disk)) {
        const auto number = number_in(directory / partition / "dev", NodeNumber::Kind::block);
        if (number) node.numbers.push_back(*number);
    }
    return node;
}

std::optional<DeviceNode> virtio_node(const fs::path& device, const Roots& roots) {
    const auto names = names_in(device, "virtio");
    if (names.empty()) return std::nullopt;
    const fs::path virtio = device / names.front();
    if (auto disk = disk_node(virtio, roots)) return disk;
    const auto interfaces = names_in(virtio / "net");
    if (!interfaces.empty()) {
        return DeviceNode{
            .kind = DeviceNode::Kind::network, .name = interfaces.front(), .numbers = {}};
    }
    return DeviceNode{.kind = DeviceNode::Kind::other, .name = names.front(), .numbers = {}};
}

/// Disks and interfaces are what they are only when their driver is done; other virtio devices are
/// whatever their drivers make of them.
bool becomes_something_else(const fs::path& device, const std::string& virtio) {
    const auto type = read_kernel_file(device / virtio / "device");  // "0x0002"
    const auto id = std::strtoul(type.value_or("0").c_str(), nullptr, 16);
    return id == virtio::device_id::net || id == virtio::device_id::block;
}

/// Whether programs can open it by now.
bool is_ready(const fs::path& device, const DeviceNode& node) {
    switch (node.kind) {
        case DeviceNode::Kind::vhost:
        case DeviceNode::Kind::block:
            return fs::exists(node.name);
        case DeviceNode::Kind::network:
            return true;
        case DeviceNode::Kind::other:
            break;
    }
    return !becomes_something_else(device, node.name);
}

std::string why_no_node(const std::optional<DeviceNode>& node) {
    if (!node) return "bind it to a driver (viaductctl devices bind)";
    if (node->kind == DeviceNode::Kind::other) {
        return "no driver has taken " + node->name + " (modprobe virtio_blk or virtio_net)";
    }
    return "is devtmpfs mounted, is udev running?";
}

/// In the way of a path made of it; no device's name either.
bool is_no_name(const std::string& device) {
    return device.empty() || device == "." || device == ".." ||
           device.find('/') != std::string::npos;
}

}  // namespace

std::string kernel_name(Driver driver) {
    return driver == Driver::vhost ? "vhost_vdpa" : "virtio_vdpa";
}

bool VdpaBus::exists() const {
    return fs::exists(roots_.sys / "bus/vdpa");
}

std::vector<std::string> VdpaBus::devices() const {
    return names_in(roots_.sys / "bus/vdpa/devices");
}

bool VdpaBus::has(const std::string& device) const {
    return !is_no_name(device) && fs::exists(roots_.sys / "bus/vdpa/devices" / device);
}

fs::path VdpaBus::directory(const std::string& device) const {
    if (!has(device)) {
        throw Error("there is no vDPA device '{}' (viaductctl devices lists those there are)",
                    device);
    }
    return roots_.sys / "bus/vdpa/devices" / device;
}

std::optional<std::string> VdpaBus::driver(const std::string& device) const {
    return name_behind_link(directory(device) / "driver");
}

std::optional<std::string> VdpaBus::driver_override(const std::string& device) const {
    auto text = read_kernel_file(directory(device) / "driver_override");
    if (!text || text->empty() || *text == "(null)") return std::nullopt;
    return text;
}

bool VdpaBus::has_driver(Driver driver) const {
    return fs::exists(roots_.sys / "bus/vdpa/drivers" / kernel_name(driver));
}

std::optional<DeviceNode> VdpaBus::node(const std::string& device) const {
    const fs::path directory = this->directory(device);
    if (auto node = vhost_node(directory, roots_)) return node;
    return virtio_node(directory, roots_);
}

DeviceNode VdpaBus::wait_for_node(const std::string& device, milliseconds limit) const {
    constexpr milliseconds step{10};
    const auto deadline = steady_clock::now() + limit;
    while (true) {
        auto found = node(device);
        if (found && is_ready(directory(device), *found)) return std::move(*found);
        if (steady_clock::now() >= deadline) {
            throw Error("vDPA device '{}' ({}) has no node after {} ms: {}", device,
                        driver(device).value_or("bound to no driver"), limit.count(),
                        why_no_node(found));
        }
        std::this_thread::sleep_for(step);
    }
}

DeviceUsers VdpaBus::users(const std::string& device) const {
    const auto node = this->node(device);
    return node ? users_of(roots_, node->numbers) : DeviceUsers{};
}

void VdpaBus::refuse_when_in_use(const std::string& device, const std::string& action) const {
    // udev looks into a disk that has just appeared, for a moment.
    constexpr milliseconds patience{1000};
    constexpr milliseconds step{50};
    const auto node = this->node(device);
    const auto deadline = steady_clock::now() + patience;
    while (true) {
        const DeviceUsers found = users(device);
        if (found.users.empty()) return;
        if (node->kind != DeviceNode::Kind::block || steady_clock::now() >= deadline) {
            throw Error("'{}' ({}) is in use by {}: end that before you {}", device, node->name,
                        text_of(found.users), action);
        }
        std::this_thread::sleep_for(step);
    }
}

void VdpaBus::write(const fs::path& file, const std::string& text, const std::string& what) const {
    const int error = write_kernel_file(file, text);
    if (error == EACCES || error == EPERM) {
        throw Error("{} is not permitted to this user ({}): run it as root", what, file.string());
    }
    if (error != 0) throw SystemError(fmt::format("{} ({})", what, file.string()), error);
}

void VdpaBus::bind(const std::string& device, Driver driver) const {
    const fs::path directory = this->directory(device);
    const std::string wanted = kernel_name(driver);
    const auto before = this->driver(device);
    if (before == wanted) return;
    const std::string what = fmt::format("binding '{}' to {}", device, wanted);
    if (!has_driver(driver)) {
        throw Error("{}: the driver is not there; load it (modprobe {})", what, wanted);
    }
    refuse_when_in_use(device, "bind it to " + wanted);
    const auto override_before = driver_override(device);
    const fs::path drivers = roots_.sys / "bus/vdpa/drivers";
    write(directory / "driver_override", wanted, what);
    try {
        if (before) write(drivers / *before / "unbind", device, what);
        write(drivers / wanted / "bind", device, what);
    } catch (const Error&) {
        // As it was, as far as it goes.
        (void)write_kernel_file(directory / "driver_override", override_before.value_or("") + "\n");
        if (before) (void)write_kernel_file(drivers / *before / "bind", device);
        throw;
    }
}

}  // namespace viaduct::management
