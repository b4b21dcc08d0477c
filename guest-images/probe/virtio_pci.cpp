#include "guest-images/probe/virtio_pci.hpp"

#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::virtio {
namespace {

// virtio 1.2, 4.1.4: struct virtio_pci_cap, after the generic two bytes.
constexpr uint16_t cap_length = 2;
constexpr uint16_t cap_type = 3;
constexpr uint16_t cap_bar = 4;
constexpr uint16_t cap_offset = 8;
constexpr uint16_t cap_size = 12;
constexpr uint16_t cap_notify_multiplier = 16;

constexpr uint16_t at(uint16_t base, uint16_t offset) {
    return static_cast<uint16_t>(base + offset);
}

}  // namespace

Location find_structure(const pci::Function& function, Structure structure) {
    uint16_t found = function.find_capability(pci::capability::vendor);
    while (found != 0 &&
           function.read<uint8_t>(at(found, cap_type)) != static_cast<uint8_t>(structure)) {
        found = function.find_capability(pci::capability::vendor, found);
    }
    if (found == 0) return {};
    return {.capability = found,
            .capability_length = function.read<uint8_t>(at(found, cap_length)),
            .bar = function.read<uint8_t>(at(found, cap_bar)),
            .offset = function.read<uint32_t>(at(found, cap_offset)),
            .length = function.read<uint32_t>(at(found, cap_size))};
}

Transport::Transport(const pci::Function& function) : function_{function} {
    function_.assign_bars();
    locate();
    reset();
}

uint64_t Transport::structure_address(Structure structure) const {
    const Location location = find_structure(function_, structure);
    CHECK(location.capability != 0, "no capability for structure ",
          static_cast<unsigned>(structure));
    CHECK(location.bar < pci::bar_count, location.bar);
    return function_.bar_address(location.bar) + location.offset;
}

void Transport::locate() {
    common_ = structure_address(Structure::common);
    notify_ = structure_address(Structure::notify);
    isr_ = structure_address(Structure::isr);
    device_ = structure_address(Structure::device);
    const uint16_t notify_capability = find_structure(function_, Structure::notify).capability;
    notify_multiplier_ = function_.read<uint32_t>(at(notify_capability, cap_notify_multiplier));
}

uint16_t Transport::device_id() const {
    return static_cast<uint16_t>(function_.read<uint16_t>(pci::header::device_id) -
                                 pci_device_base);
}

void Transport::add_status(uint8_t bits) const {
    write(common::device_status, static_cast<uint8_t>(device_status() | bits));
}

void Transport::reset() const {
    write(common::device_status, 0);
    const bool is_reset = spin_until(35_s, [this] { return device_status() == 0; });
    CHECK(is_reset, "status stays ", hex(device_status()));
}

uint64_t Transport::device_features() const {
    write(common::device_feature_select, 0);
    const uint64_t low = read(common::device_feature);
    write(common::device_feature_select, 1);
    return low | uint64_t{read(common::device_feature)} << 32;
}

void Transport::write_features(uint64_t features) const {
    write(common::driver_feature_select, 0);
    write(common::driver_feature, static_cast<uint32_t>(features));
    write(common::driver_feature_select, 1);
    write(common::driver_feature, static_cast<uint32_t>(features >> 32));
}

bool Transport::negotiate(uint64_t features) const {
    add_status(status::acknowledge);
    add_status(status::driver);
    write_features(features);
    add_status(status::features_ok);
    return (device_status() & status::features_ok) != 0;
}

uint16_t Transport::queue_size(uint16_t queue) const {
    select_queue(queue);
    return read(common::queue_size);
}

void Transport::write_queue_addresses(const QueueAddresses& addresses) const {
    const auto write_pair = [this](Register<uint32_t> low, uint64_t address) {
        write(low, static_cast<uint32_t>(address));
        write(Register<uint32_t>{at(low.offset, 4)}, static_cast<uint32_t>(address >> 32));
    };
    write_pair(common::queue_desc, addresses.desc);
    write_pair(common::queue_driver, addresses.driver);
    write_pair(common::queue_device, addresses.device);
}

QueueAddresses Transport::read_queue_addresses() const {
    const auto read_pair = [this](Register<uint32_t> low) {
        const uint64_t upper = read(Register<uint32_t>{at(low.offset, 4)});
        return upper << 32 | read(low);
    };
    return {read_pair(common::queue_desc), read_pair(common::queue_driver),
            read_pair(common::queue_device)};
}

uint64_t Transport::notify_address(uint16_t queue) const {
    select_queue(queue);
    return notify_ + uint64_t{read(common::queue_notify_off)} * notify_multiplier_;
}

pci::Function choose_function(uint64_t next) {
    const uint64_t device_id = option_number("device", 2);
    uint64_t to_skip = option_number("index", 0) + next;
    pci::Function chosen{{0, 0}};
    bool is_found = false;
    pci::visit_functions([&](const pci::Function& function) {
        if (is_found || function.read<uint16_t>(pci::header::vendor_id) != pci_vendor) return;
        if (function.read<uint16_t>(pci::header::device_id) != pci_device_base + device_id) return;
        if (to_skip-- != 0) return;
        chosen = function;
        is_found = true;
    });
    CHECK(is_found, "no virtio function on bus 0 with device id ", device_id);
    return chosen;
}

}  // namespace probe::virtio
