/// The specification's vocabulary that every layer shares (virtio 1.2): device ids, status bits,
/// feature bits and their names. Structures and constants of one device type come from
/// <linux/virtio_*.h>.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct::virtio {

/// Device status field (2.1). Bits, not states: a driver sets them one after the other.
namespace status {
inline constexpr std::uint8_t acknowledge = 1;
inline constexpr std::uint8_t driver = 2;
inline constexpr std::uint8_t driver_ok = 4;
inline constexpr std::uint8_t features_ok = 8;
inline constexpr std::uint8_t needs_reset = 64;
inline constexpr std::uint8_t failed = 128;
}  // namespace status

/// The vector of a queue, or of configuration changes, that has none (4.1.5.1.2).
inline constexpr std::uint16_t no_vector = 0xffff;

/// Reserved feature bits (6).
namespace feature {
inline constexpr std::uint64_t bit(unsigned number) {
    return std::uint64_t{1} << number;
}
inline constexpr std::uint64_t notify_on_empty = bit(24);
inline constexpr std::uint64_t indirect_desc = bit(28);
inline constexpr std::uint64_t event_idx = bit(29);
inline constexpr std::uint64_t version_1 = bit(32);
inline constexpr std::uint64_t access_platform = bit(33);
inline constexpr std::uint64_t ring_packed = bit(34);
inline constexpr std::uint64_t in_order = bit(35);
inline constexpr std::uint64_t order_platform = bit(36);
inline constexpr std::uint64_t sr_iov = bit(37);
inline constexpr std::uint64_t notification_data = bit(38);
inline constexpr std::uint64_t notif_config_data = bit(39);
inline constexpr std::uint64_t ring_reset = bit(40);
inline constexpr std::uint64_t admin_vq = bit(41);
/// Bits 24 to 41: they belong to the transport and the ring, not to a device type.
inline constexpr std::uint64_t transport_mask = (bit(42) - 1) & ~(bit(24) - 1);
}  // namespace feature

/// Device ids (5) that this program has something to say about; any other is carried all the same.
namespace device_id {
inline constexpr std::uint32_t net = 1;
inline constexpr std::uint32_t block = 2;
}  // namespace device_id

/// "net", "block", … as the specification's table of device types has it; "device-N" otherwise.
std::string device_type_name(std::uint32_t device_id);

/// The names of the bits set in `features`, lowest first: the reserved bits' and, for types known
/// here, the type's own ("VIRTIO_BLK_F_MQ"); "bit N" for the rest.
std::vector<std::string> feature_names(std::uint32_t device_id, std::uint64_t features);

}  // namespace viaduct::virtio
