#include "devices/virtio/pci_common_config.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/log.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::virtio {
namespace {

/// The bits of device_status that a driver may set.
constexpr std::uint8_t driver_bits =
    status::acknowledge | status::driver | status::driver_ok | status::features_ok | status::failed;

std::uint32_t little_endian(std::span<const std::byte> bytes) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
}

}  // namespace

PciCommonConfig::PciCommonConfig(Device& device, ParkingMutex& device_mutex,
                                 PciInterrupts& interrupts, PciNotify& notify, unsigned queues,
                                 std::string name)
    : device_(device),
      device_mutex_(device_mutex),
      interrupts_(interrupts),
      notify_(notify),
      name_(std::move(name)),
      registers_(device, queues) {}

void PciCommonConfig::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    const std::lock_guard lock(mutex_);
    for (const PciRegister& at : pci_registers()) {
        const std::uint64_t first = std::max<std::uint64_t>(offset, at.offset);
        const std::uint64_t end =
            std::min<std::uint64_t>(offset + bytes.size(), std::uint64_t{at.offset} + at.width);
        if (first >= end) continue;
        const std::uint32_t value = at.read(registers_);
        for (std::uint64_t byte = first; byte < end; ++byte) {
            bytes[byte - offset] = static_cast<std::byte>(value >> (8 * (byte - at.offset)));
        }
    }
}

void PciCommonConfig::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    const std::lock_guard device_lock(device_mutex_);
    std::size_t written = 0;
    for (const PciRegister& at : pci_registers()) {
        if (at.offset < offset || at.offset + at.width > offset + bytes.size()) continue;
        written += at.width;
        const std::uint32_t value = little_endian(bytes.subspan(at.offset - offset, at.width));
        PciEffect effect = PciEffect::ignored;
        if (at.write != nullptr) {
            const std::lock_guard lock(mutex_);
            effect = at.write(registers_, value);
        }
        carry_out(effect, value);
    }
    if (written < bytes.size()) ++ignored_writes_;
}

void PciCommonConfig::carry_out(PciEffect effect, std::uint32_t value) noexcept {
    switch (effect) {
        case PciEffect::none:
            return;
        case PciEffect::ignored:
            ++ignored_writes_;
            return;
        case PciEffect::status:
            return write_status(static_cast<std::uint8_t>(value));
        case PciEffect::queue_enable:
            return enable_queue();
        case PciEffect::config_vector:
            return write_config_vector(static_cast<std::uint16_t>(value));
        case PciEffect::queue_vector:
            return write_queue_vector(static_cast<std::uint16_t>(value));
    }
}

void PciCommonConfig::write_config_vector(std::uint16_t value) noexcept {
    interrupts_.set_config_vector(value);
    const std::uint16_t vector = interrupts_.config_vector();
    const std::lock_guard lock(mutex_);
    registers_.config_vector = vector;
}

void PciCommonConfig::write_queue_vector(std::uint16_t value) noexcept {
    const unsigned queue = registers_.queue_select;
    interrupts_.set_queue_vector(queue, value);
    const std::uint16_t vector = interrupts_.queue_vector(queue);
    const std::lock_guard lock(mutex_);
    registers_.queues[queue].vector = vector;
}

void PciCommonConfig::write_status(std::uint8_t value) noexcept {
    if (value == 0) return reset_device();
    std::uint8_t now = 0;
    {
        const std::lock_guard lock(mutex_);
        now = registers_.status;
    }
    if ((now & driver_bits & ~value) != 0) ++ignored_writes_;
    auto added = static_cast<std::uint8_t>(value & ~now & driver_bits);
    if ((added & status::features_ok) != 0 && !accept_features()) added &= ~status::features_ok;
    if ((added & status::driver_ok) != 0 && ((now | added) & status::features_ok) == 0) {
        added &= ~status::driver_ok;
        ++ignored_writes_;
    }
    {
        const std::lock_guard lock(mutex_);
        registers_.status |= added & ~status::driver_ok;
        if (device_.needs_reset()) registers_.status |= status::needs_reset;
    }
    if ((added & status::driver_ok) != 0) start_device();
}

void PciCommonConfig::reset() noexcept {
    const std::lock_guard device_lock(device_mutex_);
    reset_device();
}

void PciCommonConfig::reset_device() noexcept {
    notify_.stop();
    device_.reset();
    interrupts_.reset();
    const std::lock_guard lock(mutex_);
    registers_.reset();
    change_untold_ = false;
}

bool PciCommonConfig::accept_features() noexcept {
    std::uint64_t features = 0;
    bool offered = false;
    {
        const std::lock_guard lock(mutex_);
        features = registers_.driver_features;
        offered = !registers_.unknown_features && (features & ~registers_.offered_features) == 0;
    }
    // This transport is modern only: a driver that does not accept VERSION_1 speaks another
    // language.
    return offered && (features & feature::version_1) != 0 && device_.accept_features(features);
}

void PciCommonConfig::start_device() noexcept {
    std::vector<QueueSetup> setups;
    bool startable = false;
    {
        const std::lock_guard lock(mutex_);
        setups = registers_.setups();
        startable = (registers_.status & status::needs_reset) == 0;
    }
    bool started = false;
    if (startable) {
        interrupts_.start(setups);
        started = device_.start(setups);
        if (started) notify_.start(setups);
    }
    bool tell = false;
    {
        const std::lock_guard lock(mutex_);
        registers_.status |= status::driver_ok;
        tell = std::exchange(change_untold_, false);
    }
    if (startable && !started) return demand_reset("the device did not start");
    if (tell) interrupts_.config_changed();
}

void PciCommonConfig::enable_queue() noexcept {
    bool sane = false;
    unsigned queue = 0;
    {
        const std::lock_guard lock(mutex_);
        queue = registers_.queue_select;
        QueueSetup& setup = registers_.queues[queue].setup;
        sane = makes_sense(setup, (registers_.driver_features & feature::ring_packed) != 0);
        setup.enabled = sane;
    }
    if (!sane) demand_reset(fmt::format("the addresses of queue {} make no sense", queue));
}

void PciCommonConfig::demand_reset(const std::string& reason) noexcept {
    if (!std::exchange(reset_demanded_, true)) log::warning("{} needs a reset: {}", name_, reason);
    {
        const std::lock_guard lock(mutex_);
        registers_.status |= status::needs_reset;
    }
    interrupts_.config_changed();
}

void PciCommonConfig::config_changed() noexcept {
    {
        const std::lock_guard lock(mutex_);
        ++registers_.config_generation;
        // Asked under the lock, so that a reset that is just being completed is not undone; and a
        // driver that waits for the reset to end must find 0, whatever became of the device: it is
        // told when it goes on.
        if (registers_.status != 0 && device_.needs_reset()) {
            registers_.status |= status::needs_reset;
        }
        if ((registers_.status & status::driver_ok) == 0) {
            change_untold_ = true;
            return;
        }
    }
    interrupts_.config_changed();
}

TransportSnapshot PciCommonConfig::snapshot() const {
    TransportSnapshot snapshot;
    {
        const std::lock_guard lock(mutex_);
        snapshot.status = registers_.status;
        if ((registers_.status & status::features_ok) != 0) {
            snapshot.negotiated_features = registers_.driver_features;
        }
        snapshot.config_generation = registers_.config_generation;
        for (const PciRegisterFile::Queue& queue : registers_.queues) {
            snapshot.queues.push_back({queue.setup, queue.vector});
        }
    }
    snapshot.msix_enabled = interrupts_.msix_enabled();
    snapshot.ignored_writes = ignored_writes_;
    return snapshot;
}

}  // namespace viaduct::virtio
