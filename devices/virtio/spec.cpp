#include "devices/virtio/spec.hpp"

#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

namespace viaduct::virtio {
namespace {

struct Name {
    unsigned number;
    std::string_view text;
};

constexpr std::array device_types{
    Name{1, "net"},
    Name{2, "block"},
    Name{3, "console"},
    Name{4, "rng"},
    Name{5, "balloon"},
    Name{6, "iomem"},
    Name{7, "rpmsg"},
    Name{8, "scsi"},
    Name{9, "9p"},
    Name{10, "wlan"},
    Name{11, "rproc-serial"},
    Name{12, "caif"},
    Name{13, "memory-balloon"},
    Name{16, "gpu"},
    Name{17, "clock"},
    Name{18, "input"},
    Name{19, "vsock"},
    Name{20, "crypto"},
    Name{21, "signal-dist"},
    Name{22, "pstore"},
    Name{23, "iommu"},
    Name{24, "mem"},
    Name{25, "sound"},
    Name{26, "fs"},
    Name{27, "pmem"},
    Name{28, "rpmb"},
    Name{29, "wlan-hwsim"},
    Name{30, "video-encoder"},
    Name{31, "video-decoder"},
    Name{32, "scmi"},
    Name{33, "nitro-sec-mod"},
    Name{34, "i2c"},
    Name{35, "watchdog"},
    Name{36, "can"},
    Name{37, "dmabuf"},
    Name{38, "param-server"},
    Name{39, "audio-policy"},
    Name{40, "bluetooth"},
    Name{41, "gpio"},
    Name{42, "rdma"},
};

constexpr std::array reserved_features{
    Name{24, "VIRTIO_F_NOTIFY_ON_EMPTY"},   Name{27, "VIRTIO_F_ANY_LAYOUT"},
    Name{28, "VIRTIO_F_INDIRECT_DESC"},     Name{29, "VIRTIO_F_EVENT_IDX"},
    Name{32, "VIRTIO_F_VERSION_1"},         Name{33, "VIRTIO_F_ACCESS_PLATFORM"},
    Name{34, "VIRTIO_F_RING_PACKED"},       Name{35, "VIRTIO_F_IN_ORDER"},
    Name{36, "VIRTIO_F_ORDER_PLATFORM"},    Name{37, "VIRTIO_F_SR_IOV"},
    Name{38, "VIRTIO_F_NOTIFICATION_DATA"}, Name{39, "VIRTIO_F_NOTIF_CONFIG_DATA"},
    Name{40, "VIRTIO_F_RING_RESET"},        Name{41, "VIRTIO_F_ADMIN_VQ"},
};

constexpr std::array net_features{
    Name{0, "VIRTIO_NET_F_CSUM"},
    Name{1, "VIRTIO_NET_F_GUEST_CSUM"},
    Name{2, "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS"},
    Name{3, "VIRTIO_NET_F_MTU"},
    Name{5, "VIRTIO_NET_F_MAC"},
    Name{6, "VIRTIO_NET_F_GSO"},
    Name{7, "VIRTIO_NET_F_GUEST_TSO4"},
    Name{8, "VIRTIO_NET_F_GUEST_TSO6"},
    Name{9, "VIRTIO_NET_F_GUEST_ECN"},
    Name{10, "VIRTIO_NET_F_GUEST_UFO"},
    Name{11, "VIRTIO_NET_F_HOST_TSO4"},
    Name{12, "VIRTIO_NET_F_HOST_TSO6"},
    Name{13, "VIRTIO_NET_F_HOST_ECN"},
    Name{14, "VIRTIO_NET_F_HOST_UFO"},
    Name{15, "VIRTIO_NET_F_MRG_RXBUF"},
    Name{16, "VIRTIO_NET_F_STATUS"},
    Name{17, "VIRTIO_NET_F_CTRL_VQ"},
    Name{18, "VIRTIO_NET_F_CTRL_RX"},
    Name{19, "VIRTIO_NET_F_CTRL_VLAN"},
    Name{20, "VIRTIO_NET_F_CTRL_RX_EXTRA"},
    Name{21, "VIRTIO_NET_F_GUEST_ANNOUNCE"},
    Name{22, "VIRTIO_NET_F_MQ"},
    Name{23, "VIRTIO_NET_F_CTRL_MAC_ADDR"},
    Name{50, "VIRTIO_NET_F_DEVICE_STATS"},
    Name{51, "VIRTIO_NET_F_HASH_TUNNEL"},
    Name{52, "VIRTIO_NET_F_VQ_NOTF_COAL"},
    Name{53, "VIRTIO_NET_F_NOTF_COAL"},
    Name{54, "VIRTIO_NET_F_GUEST_USO4"},
    Name{55, "VIRTIO_NET_F_GUEST_USO6"},
    Name{56, "VIRTIO_NET_F_HOST_USO"},
    Name{57, "VIRTIO_NET_F_HASH_REPORT"},
    Name{59, "VIRTIO_NET_F_GUEST_HDRLEN"},
    Name{60, "VIRTIO_NET_F_RSS"},
    Name{61, "VIRTIO_NET_F_RSC_EXT"},
    Name{62, "VIRTIO_NET_F_STANDBY"},
    Name{63, "VIRTIO_NET_F_SPEED_DUPLEX"},
};

constexpr std::array block_features{
    Name{0, "VIRTIO_BLK_F_BARRIER"},
    Name{1, "VIRTIO_BLK_F_SIZE_MAX"},
    Name{2, "VIRTIO_BLK_F_SEG_MAX"},
    Name{4, "VIRTIO_BLK_F_GEOMETRY"},
    Name{5, "VIRTIO_BLK_F_RO"},
    Name{6, "VIRTIO_BLK_F_BLK_SIZE"},
    Name{7, "VIRTIO_BLK_F_SCSI"},
    Name{9, "VIRTIO_BLK_F_FLUSH"},
    Name{10, "VIRTIO_BLK_F_TOPOLOGY"},
    Name{11, "VIRTIO_BLK_F_CONFIG_WCE"},
    Name{12, "VIRTIO_BLK_F_MQ"},
    Name{13, "VIRTIO_BLK_F_DISCARD"},
    Name{14, "VIRTIO_BLK_F_WRITE_ZEROES"},
    Name{15, "VIRTIO_BLK_F_LIFETIME"},
    Name{16, "VIRTIO_BLK_F_SECURE_ERASE"},
    Name{17, "VIRTIO_BLK_F_ZONED"},
};

std::string_view find(std::span<const Name> names, unsigned number) {
    const auto* found = std::find_if(names.data(), names.data() + names.size(),
                                     [&](const Name& name) { return name.number == number; });
    return found == names.data() + names.size() ? std::string_view{} : found->text;
}

std::span<const Name> type_features(std::uint32_t device_id) {
    if (device_id == device_id::net) return net_features;
    if (device_id == device_id::block) return block_features;
    return {};
}

std::string feature_name(std::uint32_t device_id, unsigned number) {
    const bool reserved = (feature::transport_mask & feature::bit(number)) != 0;
    const auto text = find(
        reserved ? std::span<const Name>(reserved_features) : type_features(device_id), number);
    return text.empty() ? fmt::format("bit {}", number) : std::string(text);
}

}  // namespace

std::string device_type_name(std::uint32_t device_id) {
    const auto text = find(device_types, device_id);
    return text.empty() ? fmt::format("device-{}", device_id) : std::string(text);
}

std::vector<std::string> feature_names(std::uint32_t device_id, std::uint64_t features) {
    std::vector<std::string> names;
    for (unsigned number = 0; number < 64; ++number) {
        if ((features & feature::bit(number)) != 0) {
            names.push_back(feature_name(device_id, number));
        }
    }
    return names;
}

}  // namespace viaduct::virtio
