/// A virtio-pci function on its buses, and a driver's hands: it finds everything through the
/// capability list, as a guest does.
#pragma once

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include <cstring>
#include <functional>
#include <memory>
#include <optional>

#include "base/event_loop.hpp"
#include "devices/bus.hpp"
#include "devices/virtio/pci_transport.hpp"
#include "tests/unit/virtio_pci_fakes.hpp"

namespace viaduct::test {

class World {
public:
    static constexpr std::uint64_t ram_end = 0x4000'0000;
    static constexpr std::uint64_t registers_at = 0xe000'0000;
    static constexpr std::uint64_t notify_at = 0x8'0000'0000;
    static constexpr std::uint16_t no_vector = VIRTIO_MSI_NO_VECTOR;

    struct Place {
        std::uint64_t address = 0;
        std::uint32_t length = 0;
        std::uint16_t capability = 0;
    };

    explicit World(unsigned queues = 2, const std::function<void(FakeDevice&)>& prepare = {})
        : device(queues) {
        if (prepare) prepare(device);
        transport = std::make_unique<virtio::PciTransport>(
            device,
            virtio::PciPlatform{memory, [](Gpa at, std::uint64_t) { return at.value >= ram_end; },
                                router, doorbells, loop},
            line, pci::Bdf::of_slot(3), "disk0");
        put(PCI_BASE_ADDRESS_0, 4, registers_at);
        put(PCI_BASE_ADDRESS_2, 4, static_cast<std::uint32_t>(notify_at));
        put(PCI_BASE_ADDRESS_3, 4, notify_at >> 32);
        put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        common = find(VIRTIO_PCI_CAP_COMMON_CFG)->address;
        isr = find(VIRTIO_PCI_CAP_ISR_CFG)->address;
        notify = find(VIRTIO_PCI_CAP_NOTIFY_CFG)->address;
        if (auto place = find(VIRTIO_PCI_CAP_DEVICE_CFG)) config = place->address;
        msix_capability = capability(PCI_CAP_ID_MSIX, 0);
        table = registers_at + (get(at(msix_capability, PCI_MSIX_TABLE), 4) & ~7U);
        pba = registers_at + (get(at(msix_capability, PCI_MSIX_PBA), 4) & ~7U);
    }

    static std::uint16_t at(std::uint16_t base, unsigned field) {
        return static_cast<std::uint16_t>(base + field);
    }

    // Configuration space.
    std::uint32_t get(std::uint16_t offset, unsigned width) const {
        std::uint32_t value = 0;
        transport->read_config(offset, std::as_writable_bytes(std::span(&value, 1)).first(width));
        return value;
    }
    void put(std::uint16_t offset, unsigned width, std::uint32_t value) const {
        transport->write_config(offset, std::as_bytes(std::span(&value, 1)).first(width));
    }
    /// The capability with this id that follows the one at `after` (0: the first); 0 if none.
    std::uint16_t capability(std::uint8_t id, std::uint16_t after) const {
        std::uint32_t next = after == 0 ? get(PCI_CAPABILITY_LIST, 1) : get(at(after, 1), 1);
        while (next != 0 && get(static_cast<std::uint16_t>(next), 1) != id) {
            next = get(static_cast<std::uint16_t>(next + 1), 1);
        }
        return static_cast<std::uint16_t>(next);
    }
    std::optional<Place> find(std::uint8_t type) const {
        for (auto cap = capability(PCI_CAP_ID_VNDR, 0); cap != 0;
             cap = capability(PCI_CAP_ID_VNDR, cap)) {
            if (get(at(cap, VIRTIO_PCI_CAP_CFG_TYPE), 1) != type) continue;
            const bool first = get(at(cap, VIRTIO_PCI_CAP_BAR), 1) == 0;
            return Place{
                (first ? registers_at : notify_at) + get(at(cap, VIRTIO_PCI_CAP_OFFSET), 4),
                get(at(cap, VIRTIO_PCI_CAP_LENGTH), 4), cap};
        }
        return std::nullopt;
    }

    // Memory.
    std::uint64_t read(std::uint64_t address, unsigned width) const {
        std::uint64_t value = 0;
        memory.read(address, std::as_writable_bytes(std::span(&value, 1)).first(width));
        return value;
    }
    void write(std::uint64_t address, unsigned width, std::uint64_t value) const {
        memory.write(address, std::as_bytes(std::span(&value, 1)).first(width));
    }

    // The driver's steps (3.1.1).
    std::uint8_t status() const {
        return static_cast<std::uint8_t>(read(common + VIRTIO_PCI_COMMON_STATUS, 1));
    }
    void set_status(std::uint8_t value) const {
        write(common + VIRTIO_PCI_COMMON_STATUS, 1, value);
    }
    void add_status(std::uint8_t bits) const { set_status(status() | bits); }
    void accept(std::uint64_t features) const {
        for (unsigned window = 0; window < 2; ++window) {
            write(common + VIRTIO_PCI_COMMON_GFSELECT, 4, window);
            write(common + VIRTIO_PCI_COMMON_GF, 4, features >> (32 * window) & 0xffffffff);
        }
    }
    void negotiate() const {
        set_status(0);
        add_status(virtio::status::acknowledge);
        add_status(virtio::status::driver);
        accept(device.features);
        add_status(virtio::status::features_ok);
    }
    void select(unsigned queue) const { write(common + VIRTIO_PCI_COMMON_Q_SELECT, 2, queue); }
    void place_queue(unsigned queue, std::uint64_t descriptors, std::uint64_t driver,
                     std::uint64_t used) const {
        select(queue);
        write(common + VIRTIO_PCI_COMMON_Q_DESCLO, 8, descriptors);
        write(common + VIRTIO_PCI_COMMON_Q_AVAILLO, 8, driver);
        write(common + VIRTIO_PCI_COMMON_Q_USEDLO, 8, used);
    }
    void enable_queue() const { write(common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1); }
    void set_up_queue(unsigned queue, std::uint16_t vector = no_vector) const {
        const std::uint64_t base = 0x10'0000 + 0x1'0000 * queue;
        place_queue(queue, base, base + 0x4000, base + 0x8000);
        write(common + VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
        enable_queue();
    }
    void driver_ok() const { add_status(virtio::status::driver_ok); }
    /// Queue q interrupts by vector q + 1, the configuration by vector 0.
    void run_with_msix() const {
        enable_msix();
        negotiate();
        write(common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
        for (unsigned queue = 0; queue < device.queue_count(); ++queue) {
            set_up_queue(queue, static_cast<std::uint16_t>(queue + 1));
        }
        driver_ok();
    }
    void run_with_intx() const {
        negotiate();
        for (unsigned queue = 0; queue < device.queue_count(); ++queue) set_up_queue(queue);
        driver_ok();
    }

    // MSI-X.
    void set_msix(bool enabled, bool masked = false) const {
        put(at(msix_capability, PCI_MSIX_FLAGS), 2,
            (enabled ? PCI_MSIX_FLAGS_ENABLE : 0U) | (masked ? PCI_MSIX_FLAGS_MASKALL : 0U));
    }
    void set_vector(unsigned vector, bool masked) const {
        write(table + 16ULL * vector, 8, 0xfee0'0000);
        write(table + 16ULL * vector + 8, 4, 0x40 + vector);
        write(table + 16ULL * vector + 12, 4, masked ? 1 : 0);
    }
    void enable_msix() const {
        for (unsigned vector = 0; vector <= device.queue_count(); ++vector) {
            set_vector(vector, false);
        }
        set_msix(true);
    }
    /// The data words of the messages sent since the last look.
    std::vector<std::uint32_t> interrupts() {
        settle();
        std::vector<std::uint32_t> result;
        for (const auto& message : router.take_sent()) result.push_back(message.data);
        return result;
    }

    /// Waits until the event loop has seen all that was signalled before. Twice, because one round
    /// of epoll may report a wake-up before the descriptor that was readable first.
    void settle() {
        loop.call([] {});
        loop.call([] {});
    }

    FakeDevice device;
    FakeRouter router;
    FakeDoorbells doorbells;
    FakeLine line;
    EventLoop loop{"test-loop"};
    devices::Bus memory;
    std::unique_ptr<virtio::PciTransport> transport;
    std::uint64_t common = 0;
    std::uint64_t isr = 0;
    std::uint64_t notify = 0;
    std::uint64_t config = 0;
    std::uint16_t msix_capability = 0;
    std::uint64_t table = 0;
    std::uint64_t pba = 0;
};

}  // namespace viaduct::test
