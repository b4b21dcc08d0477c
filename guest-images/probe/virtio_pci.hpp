// The driver's side of the virtio-pci transport (virtio 1.2, 4.1), for any device id.
#pragma once

#include <cstdint>

#include "guest-images/probe/clock.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/pci.hpp"

namespace probe::virtio {

inline constexpr uint16_t pci_vendor = 0x1af4;
inline constexpr uint16_t pci_device_base = 0x1040;
inline constexpr uint16_t no_vector = 0xffff;

// A register of a fixed width in one of the structures.
template <typename T>
struct Register {
    uint16_t offset;
};

// virtio 1.2, 4.1.4.3: struct virtio_pci_common_cfg.
namespace common {
inline constexpr Register<uint32_t> device_feature_select{0};
inline constexpr Register<uint32_t> device_feature{4};
inline constexpr Register<uint32_t> driver_feature_select{8};
inline constexpr Register<uint32_t> driver_feature{12};
inline constexpr Register<uint16_t> config_msix_vector{16};
inline constexpr Register<uint16_t> num_queues{18};
inline constexpr Register<uint8_t> device_status{20};
inline constexpr Register<uint8_t> config_generation{21};
inline constexpr Register<uint16_t> queue_select{22};
inline constexpr Register<uint16_t> queue_size{24};
inline constexpr Register<uint16_t> queue_msix_vector{26};
inline constexpr Register<uint16_t> queue_enable{28};
inline constexpr Register<uint16_t> queue_notify_off{30};
inline constexpr Register<uint32_t> queue_desc{32};  // each address is written as two halves
inline constexpr Register<uint32_t> queue_driver{40};
inline constexpr Register<uint32_t> queue_device{48};
inline constexpr uint32_t size = 56;
}  // namespace common

namespace status {
inline constexpr uint8_t acknowledge = 1;
inline constexpr uint8_t driver = 2;
inline constexpr uint8_t driver_ok = 4;
inline constexpr uint8_t features_ok = 8;
inline constexpr uint8_t needs_reset = 64;
inline constexpr uint8_t failed = 128;
}  // namespace status

namespace feature {
inline constexpr uint64_t indirect_desc = 1ULL << 28;
inline constexpr uint64_t event_idx = 1ULL << 29;
inline constexpr uint64_t version_1 = 1ULL << 32;
inline constexpr uint64_t access_platform = 1ULL << 33;
}  // namespace feature

namespace isr {
inline constexpr uint8_t queue = 1;
inline constexpr uint8_t config = 2;
}  // namespace isr

enum class Structure : uint8_t { common = 1, notify = 2, isr = 3, device = 4, pci_cfg = 5 };

// Where a structure lies, as its capability says (4.1.4).
struct Location {
    uint16_t capability;  // in configuration space; 0: there is none
    uint8_t capability_length;
    uint8_t bar;
    uint32_t offset;
    uint32_t length;
};
Location find_structure(const pci::Function& function, Structure structure);

struct QueueAddresses {
    uint64_t desc;
    uint64_t driver;
    uint64_t device;
};

class Transport {
public:
    // Assigns the function's BARs where nobody has, and leaves the device reset.
    explicit Transport(const pci::Function& function);

    const pci::Function& function() const { return function_; }
    uint16_t device_id() const;

    template <typename T>
    T read(Register<T> reg) const {
        return mmio_read<T>(common_ + reg.offset);
    }
    template <typename T>
    void write(Register<T> reg, std::type_identity_t<T> value) const {
        mmio_write<T>(common_ + reg.offset, value);
    }
    template <typename T>
    T read_config(uint32_t offset) const {
        return mmio_read<T>(device_ + offset);
    }
    template <typename T>
    void write_config(uint32_t offset, std::type_identity_t<T> value) const {
        mmio_write<T>(device_ + offset, value);
    }
    // Reading acknowledges.
    uint8_t read_isr() const { return mmio_read<uint8_t>(isr_); }

    uint8_t device_status() const { return read(common::device_status); }
    void add_status(uint8_t bits) const;
    // Writes 0 and waits until it reads 0.
    void reset() const;

    uint64_t device_features() const;
    void write_features(uint64_t features) const;
    // Status up to FEATURES_OK; answers whether the device kept that bit.
    bool negotiate(uint64_t features) const;

    void select_queue(uint16_t queue) const { write(common::queue_select, queue); }
    uint16_t queue_size(uint16_t queue) const;
    void write_queue_addresses(const QueueAddresses& addresses) const;
    QueueAddresses read_queue_addresses() const;
    uint64_t notify_address(uint16_t queue) const;
    uint32_t notify_multiplier() const { return notify_multiplier_; }

    // BARs have moved: look at where they are now.
    void locate();

private:
    uint64_t structure_address(Structure structure) const;

    pci::Function function_;
    uint64_t common_ = 0;
    uint64_t notify_ = 0;
    uint64_t isr_ = 0;
    uint64_t device_ = 0;
    uint32_t notify_multiplier_ = 0;
};

// The function the command line chooses: `device=ID` (2, block, by default) and `index=N` among
// those, or the one that is `next` after it.
pci::Function choose_function(uint64_t next = 0);

}  // namespace probe::virtio
