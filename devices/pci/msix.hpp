/// MSI-X (PCI 3.0, 6.8.2): vector table, pending bits, and which eventfds a vector's messages come
/// from. As a BusDevice it is the table at offset 0 and the pending bit array at pba_offset().
///
/// A source is attached to its vector's route (an irqfd: the VMM runs nothing per interrupt)
/// exactly while MSI-X is enabled and neither the function nor the vector is masked. While it is
/// detached nobody reads the eventfd, so the pending bit is: something was signalled through the
/// VMM, or any source is readable. Unmasking takes all of that and sends the message once; only
/// then are the sources attached, so an event in between is an interrupt of its own, sent by
/// attach().
///
/// Routes are made when a vector is first unmasked: a guest that uses two of 65 pays for two.
///
/// Safe from any thread. The lock is held across calls of the router, which never wait for a vCPU.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/event_fd.hpp"
#include "devices/bus.hpp"
#include "devices/interrupts.hpp"
#include "devices/pci/config_space.hpp"
#include "devices/pci/function.hpp"

namespace viaduct::pci {

class Msix final : public devices::BusDevice {
public:
    static constexpr unsigned max_vectors = 2048;
    static constexpr std::uint64_t entry_size = 16;

    /// What a guest and pending interrupts have put here; for save and load.
    struct State {
        static constexpr std::uint32_t current_version = 1;
        struct Entry {
            devices::MsiMessage message;
            bool masked = true;
            bool pending = false;
            friend bool operator==(const Entry&, const Entry&) = default;
        };
        std::uint32_t version = current_version;
        bool enabled = false;
        bool function_masked = false;
        std::vector<Entry> entries;
        friend bool operator==(const State&, const State&) = default;
    };

    Msix(devices::MsiRouter& router, Bdf bdf, unsigned vectors);
    Msix(const Msix&) = delete;
    Msix& operator=(const Msix&) = delete;
    ~Msix() override;

    [[nodiscard]] unsigned vectors() const noexcept { return static_cast<unsigned>(count_); }
    [[nodiscard]] std::uint64_t pba_offset() const noexcept;
    /// Table and pending bits, in whole pages.
    [[nodiscard]] std::uint64_t size() const noexcept;

    /// Adds the capability that names `bar` and `offset` as the place of this; returns its offset.
    std::uint16_t add_capability(ConfigSpace& config, unsigned bar, std::uint32_t offset) const;
    /// The enable and function mask bits of the capability's message control, after a write to it.
    void set_control(bool enabled, bool function_masked) noexcept;

    /// `source` interrupts by `vector` from now on; one source has at most one vector. Ignored for
    /// a vector that the table does not have. The source must live until unbind().
    void bind(unsigned vector, const EventFd& source) noexcept;
    /// When it returns, signals on `source` stay in it.
    void unbind(unsigned vector, const EventFd& source) noexcept;
    /// An interrupt raised by the VMM: sent, or pending while masked; nothing while disabled.
    void signal(unsigned vector) noexcept;

    void read(std::uint64_t offset, std::span<std::byte> bytes) noexcept override;
    /// Only aligned accesses of 4 and 8 bytes write (6.8.2); the pending bits are read-only.
    void write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept override;

    /// Power-on: disabled, all vectors masked, nothing pending. Bindings stay.
    void reset() noexcept;
    [[nodiscard]] State save() const;
    /// Throws Error when the state is of another version or of another number of vectors.
    void load(const State& state);

private:
    struct Source {
        const EventFd* event = nullptr;
        bool attached = false;
    };
    struct Vector {
        State::Entry entry;  // entry.pending: raised by the VMM, or left over from a failed attach
        std::unique_ptr<devices::MsiRoute> route;
        std::optional<devices::MsiMessage> routed;  // what the route sends
        std::vector<Source> sources;
        bool live = false;  // unmasked and routed
    };

    // All with mutex_ held.
    [[nodiscard]] bool unmasked(const Vector& vector) const noexcept;
    [[nodiscard]] static bool pending(const Vector& vector) noexcept;
    [[nodiscard]] std::uint32_t table_dword(std::uint64_t index) const noexcept;
    [[nodiscard]] std::uint32_t pba_dword(std::uint64_t index) const noexcept;
    void write_table_dword(std::uint64_t index, std::uint32_t value) noexcept;
    void settle(Vector& vector) noexcept;
    void settle_all() noexcept;
    [[nodiscard]] bool route(Vector& vector) noexcept;
    void go_live(Vector& vector) noexcept;
    void go_quiet(Vector& vector) noexcept;
    void attach(Vector& vector, Source& source) noexcept;
    void report(const char* failed) noexcept;

    devices::MsiRouter& router_;
    const Bdf bdf_;
    const std::size_t count_;
    mutable std::mutex mutex_;
    bool enabled_ = false;
    bool function_masked_ = false;
    bool reported_ = false;
    std::vector<Vector> vectors_;
};

}  // namespace viaduct::pci
