#include "vdpa/management/vdpa_family.hpp"

#include <algorithm>

#include "devices/virtio/spec.hpp"
#include "vdpa/management/vdpa_uapi.hpp"

namespace viaduct::management {
namespace {

using Kind = GenericNetlink::Kind;

GenericNetlink open_family(std::unique_ptr<NetlinkSocket> socket) {
    try {
        return {std::move(socket), VDPA_GENL_NAME};
    } catch (const NetlinkRefusal& refusal) {
        if (refusal.code() != ENOENT) throw;
        throw Error(
            "the kernel has no vDPA here (generic netlink family 'vdpa'): load its module "
            "(modprobe vdpa), and stay in the host's first network namespace");
    }
}

template <typename T>
std::optional<T> value_of(const NetlinkAttributes& attributes, NetlinkAttributes::Type type) {
    const auto number = attributes.number(type);
    return number ? std::optional(static_cast<T>(*number)) : std::nullopt;
}

/// Parents that do not tell are told as 0.
template <typename T>
std::optional<T> unless_zero(std::optional<T> value) {
    return value == T{0} ? std::nullopt : value;
}

ManagementDevice management_device_of(const NetlinkAttributes& reply) {
    return {
        .bus = reply.string(VDPA_ATTR_MGMTDEV_BUS_NAME),
        .name = reply.string(VDPA_ATTR_MGMTDEV_DEV_NAME),
        .device_types = reply.number(VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES).value_or(0),
        .features = unless_zero(reply.number(VDPA_ATTR_DEV_SUPPORTED_FEATURES)),
        .max_queues = unless_zero(value_of<std::uint32_t>(reply, VDPA_ATTR_DEV_MGMTDEV_MAX_VQS))};
}

DeviceEntry entry_of(const NetlinkAttributes& reply) {
    return {
        .name = reply.string(VDPA_ATTR_DEV_NAME),
        .parent = management_device_of(reply).handle(),
        .device_id = value_of<std::uint32_t>(reply, VDPA_ATTR_DEV_ID).value_or(0),
        .vendor_id = value_of<std::uint32_t>(reply, VDPA_ATTR_DEV_VENDOR_ID).value_or(0),
        .max_queues = value_of<std::uint32_t>(reply, VDPA_ATTR_DEV_MAX_VQS).value_or(0),
        .max_queue_size = value_of<std::uint16_t>(reply, VDPA_ATTR_DEV_MAX_VQ_SIZE).value_or(0),
        .min_queue_size = value_of<std::uint16_t>(reply, VDPA_ATTR_DEV_MIN_VQ_SIZE).value_or(0)};
}

DeviceConfig config_of(const NetlinkAttributes& reply) {
    DeviceConfig config{
        .features = reply.number(VDPA_ATTR_DEV_FEATURES),
        .negotiated_features = reply.number(VDPA_ATTR_DEV_NEGOTIATED_FEATURES),
        .mac = {},
        .mtu = value_of<std::uint16_t>(reply, VDPA_ATTR_DEV_NET_CFG_MTU),
        .max_queue_pairs = value_of<std::uint16_t>(reply, VDPA_ATTR_DEV_NET_CFG_MAX_VQP),
        .link_up = {},
        .capacity = {},
        .block_size = {},
        .block_queues = {},
        .read_only = {}};
    if (const auto mac = reply.bytes(VDPA_ATTR_DEV_NET_CFG_MACADDR);
        mac.size() == sizeof(MacAddress)) {
        config.mac.emplace();
        std::ranges::transform(mac, config.mac->begin(),
                               [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
    }
    if (const auto status = reply.number(VDPA_ATTR_DEV_NET_STATUS)) {
        constexpr std::uint64_t link_up = 1;  // VIRTIO_NET_S_LINK_UP (5.1.4)
        config.link_up = (*status & link_up) != 0;
    }
    if (reply.number(VDPA_ATTR_DEV_ID) == virtio::device_id::block) {
        constexpr std::uint64_t sector = 512;
        if (const auto sectors = reply.number(block_capacity)) config.capacity = *sectors * sector;
        config.block_size = value_of<std::uint32_t>(reply, block_block_size);
        config.block_queues = value_of<std::uint16_t>(reply, block_queues);
        config.read_only = value_of<bool>(reply, block_read_only);
    }
    return config;
}

NetlinkAttributes named(const std::string& device) {
    NetlinkAttributes attributes;
    attributes.put_string(VDPA_ATTR_DEV_NAME, device);
    return attributes;
}

NetlinkAttributes attributes_of(const NewDevice& device) {
    NetlinkAttributes attributes = named(device.name);
    const auto slash = device.parent.find('/');
    if (slash != std::string::npos) {
        attributes.put_string(VDPA_ATTR_MGMTDEV_BUS_NAME, device.parent.substr(0, slash));
    }
    attributes.put_string(VDPA_ATTR_MGMTDEV_DEV_NAME, slash == std::string::npos
                                                          ? device.parent
                                                          : device.parent.substr(slash + 1));
    if (device.mac) {
        attributes.put(VDPA_ATTR_DEV_NET_CFG_MACADDR, std::as_bytes(std::span(*device.mac)));
    }
    if (device.mtu) attributes.put_u16(VDPA_ATTR_DEV_NET_CFG_MTU, *device.mtu);
    if (device.max_queue_pairs) {
        attributes.put_u16(VDPA_ATTR_DEV_NET_CFG_MAX_VQP, *device.max_queue_pairs);
    }
    if (device.features) attributes.put_u64(VDPA_ATTR_DEV_FEATURES, *device.features);
    return attributes;
}

std::string list_of(const std::vector<ManagementDevice>& parents) {
    std::string list;
    for (const ManagementDevice& parent : parents) {
        list += (list.empty() ? "" : ", ") + parent.handle();
    }
    return list.empty() ? "none: load a driver that brings one (modprobe vduse)" : list;
}

[[noreturn]] void throw_not_permitted(const std::string& what) {
    throw Error("{} is not permitted to this user: it takes CAP_NET_ADMIN; run it as root", what);
}

/// What a refused DEV_NEW means to who asked for it; `parents` are those there are.
[[noreturn]] void explain_refused_add(const NewDevice& device, const NetlinkRefusal& refusal,
                                      const std::vector<ManagementDevice>& parents) {
    switch (refusal.code()) {
        case EPERM:
            throw_not_permitted("adding a vDPA device");
        case EEXIST:
            throw Error(
                "there is a vDPA device '{}' already: choose another name, or remove it "
                "(viaductctl devices del {})",
                device.name, device.name);
        case ENODEV:
            throw Error("no parent '{}' can make a vDPA device; there are: {}", device.parent,
                        list_of(parents));
        case EOPNOTSUPP:
            throw Error("'{}' does not let all of these be chosen ({}): leave some of them away",
                        device.parent, refusal.kernel_text());
        default:
            break;
    }
    if (refusal.code() == EINVAL && device.parent == "vduse" && refusal.kernel_text().empty()) {
        throw Error(
            "VDUSE has no device '{}' that is ready: start the daemon that makes it first, under "
            "the same name (ls /dev/vduse), and let it set up its queues",
            device.name);
    }
    throw refusal;
}

}  // namespace

VdpaFamily::VdpaFamily(std::unique_ptr<NetlinkSocket> socket)
    : netlink_(open_family(std::move(socket))) {}

std::vector<ManagementDevice> VdpaFamily::management_devices() {
    std::vector<ManagementDevice> parents;
    for (const auto& reply :
         netlink_.ask("listing what can make vDPA devices", VDPA_CMD_MGMTDEV_GET, {}, Kind::all)) {
        parents.push_back(management_device_of(reply));
    }
    return parents;
}

std::vector<DeviceEntry> VdpaFamily::devices() {
    std::vector<DeviceEntry> devices;
    for (const auto& reply :
         netlink_.ask("listing vDPA devices", VDPA_CMD_DEV_GET, {}, Kind::all)) {
        devices.push_back(entry_of(reply));
    }
    return devices;
}

std::optional<DeviceEntry> VdpaFamily::device(const std::string& name) {
    try {
        const auto replies =
            netlink_.ask("looking for vDPA device " + name, VDPA_CMD_DEV_GET, named(name));
        return replies.empty() ? std::nullopt : std::optional(entry_of(replies[0]));
    } catch (const NetlinkRefusal& refusal) {
        if (refusal.code() == ENODEV) return std::nullopt;
        throw;
    }
}

DeviceConfig VdpaFamily::config(const std::string& name) {
    try {
        const auto replies = netlink_.ask("asking what vDPA device " + name + " is like",
                                          VDPA_CMD_DEV_CONFIG_GET, named(name));
        return replies.empty() ? DeviceConfig{} : config_of(replies[0]);
    } catch (const NetlinkRefusal& refusal) {
        // Another type; kernels before 5.19: not before its driver has set FEATURES_OK.
        if (refusal.code() == EOPNOTSUPP || refusal.code() == EAGAIN) return {};
        throw;
    }
}

void VdpaFamily::add(const NewDevice& device) {
    try {
        netlink_.ask("adding vDPA device " + device.name, VDPA_CMD_DEV_NEW, attributes_of(device));
    } catch (const NetlinkRefusal& refusal) {
        explain_refused_add(device, refusal, management_devices());
    }
}

void VdpaFamily::remove(const std::string& name) {
    try {
        netlink_.ask("removing vDPA device " + name, VDPA_CMD_DEV_DEL, named(name));
    } catch (const NetlinkRefusal& refusal) {
        if (refusal.code() == EPERM) throw_not_permitted("removing a vDPA device");
        if (refusal.code() == ENODEV) throw Error("there is no vDPA device '{}'", name);
        throw;
    }
}

}  // namespace viaduct::management
