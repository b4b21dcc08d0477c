#include "devices/pci/msix.hpp"

#include <linux/pci_regs.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"

namespace viaduct::pci {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t dword = 4;
constexpr std::uint64_t dwords_per_entry = Msix::entry_size / dword;

constexpr std::uint64_t whole_pages(std::uint64_t size) {
    return (size + page - 1) / page * page;
}

}  // namespace

Msix::Msix(devices::MsiRouter& router, Bdf bdf, unsigned vectors)
    : router_(router), bdf_(bdf), count_(std::clamp(vectors, 1U, max_vectors)), vectors_(count_) {}

Msix::~Msix() {
    const std::lock_guard lock(mutex_);
    for (Vector& vector : vectors_) go_quiet(vector);
}

std::uint64_t Msix::pba_offset() const noexcept {
    return whole_pages(count_ * entry_size);
}

std::uint64_t Msix::size() const noexcept {
    return pba_offset() + whole_pages((count_ + 63) / 64 * 8);
}

std::uint16_t Msix::add_capability(ConfigSpace& config, unsigned bar, std::uint32_t offset) const {
    struct {
        std::uint16_t control;
        std::uint32_t table;
        std::uint32_t pba;
    } __attribute__((packed)) const body{static_cast<std::uint16_t>(count_ - 1), offset | bar,
                                         static_cast<std::uint32_t>(offset + pba_offset()) | bar};
    constexpr std::uint16_t control_writable = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
    return config.add_capability(PCI_CAP_ID_MSIX, std::as_bytes(std::span(&body, 1)),
                                 std::as_bytes(std::span(&control_writable, 1)));
}

void Msix::set_control(bool enabled, bool function_masked) noexcept {
    const std::lock_guard lock(mutex_);
    if (enabled == enabled_ && function_masked == function_masked_) return;
    enabled_ = enabled;
    function_masked_ = function_masked;
    settle_all();
}

void Msix::bind(unsigned vector, const EventFd& source) noexcept {
    const std::lock_guard lock(mutex_);
    if (vector >= count_) return;
    Vector& bound = vectors_[vector];
    Source& added = bound.sources.emplace_back(Source{&source});
    if (bound.live) attach(bound, added);
}

void Msix::unbind(unsigned vector, const EventFd& source) noexcept {
    const std::lock_guard lock(mutex_);
    if (vector >= count_) return;
    Vector& bound = vectors_[vector];
    for (const Source& candidate : bound.sources) {
        if (candidate.event == &source && candidate.attached) bound.route->detach(source);
    }
    std::erase_if(bound.sources,
                  [&](const Source& candidate) { return candidate.event == &source; });
}

void Msix::signal(unsigned vector) noexcept {
    const std::lock_guard lock(mutex_);
    if (vector >= count_ || !enabled_) return;
    Vector& raised = vectors_[vector];
    if (raised.live) {
        raised.route->signal();
    } else {
        raised.entry.pending = true;
    }
}

bool Msix::unmasked(const Vector& vector) const noexcept {
    return enabled_ && !function_masked_ && !vector.entry.masked;
}

bool Msix::pending(const Vector& vector) noexcept {
    return vector.entry.pending ||
           std::any_of(vector.sources.begin(), vector.sources.end(), [](const Source& source) {
               return !source.attached && source.event->pending();
           });
}

void Msix::settle(Vector& vector) noexcept {
    if (unmasked(vector)) {
        go_live(vector);
    } else {
        go_quiet(vector);
    }
}

void Msix::settle_all() noexcept {
    for (Vector& vector : vectors_) settle(vector);
}

bool Msix::route(Vector& vector) noexcept {
    if (vector.routed == vector.entry.message) return true;
    try {
        if (!vector.route) vector.route = router_.route(bdf_.value);
        vector.route->update(vector.entry.message);
        vector.routed = vector.entry.message;
    } catch (const std::exception& failure) {
        report(failure.what());
        return false;
    }
    return true;
}

void Msix::go_live(Vector& vector) noexcept {
    // Without a route the vector stays as if masked: its interrupts are kept pending.
    if (!route(vector) || vector.live) return;
    vector.live = true;
    bool send = std::exchange(vector.entry.pending, false);
    // Taken before attach, which would send each of them by itself.
    for (const Source& source : vector.sources) send |= source.event->take();
    for (Source& source : vector.sources) attach(vector, source);
    if (send) vector.route->signal();
}

void Msix::go_quiet(Vector& vector) noexcept {
    if (!vector.live) return;
    vector.live = false;
    for (Source& source : vector.sources) {
        if (std::exchange(source.attached, false)) vector.route->detach(*source.event);
    }
}

void Msix::attach(Vector& vector, Source& source) noexcept {
    try {
        vector.route->attach(*source.event);
        source.attached = true;
    } catch (const std::exception& failure) {
        report(failure.what());
    }
}

void Msix::report(const char* failed) noexcept {
    if (std::exchange(reported_, true)) return;
    log::error("PCI slot {}: an MSI-X vector cannot be delivered: {}", bdf_.slot(), failed);
}

std::uint32_t Msix::table_dword(std::uint64_t index) const noexcept {
    if (index >= count_ * dwords_per_entry) return 0;
    const State::Entry& entry = vectors_[index / dwords_per_entry].entry;
    switch (index % dwords_per_entry * dword) {
        case PCI_MSIX_ENTRY_LOWER_ADDR:
            return static_cast<std::uint32_t>(entry.message.address);
        case PCI_MSIX_ENTRY_UPPER_ADDR:
            return static_cast<std::uint32_t>(entry.message.address >> 32);
        case PCI_MSIX_ENTRY_DATA:
            return entry.message.data;
        default:
            return entry.masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
    }
}

std::uint32_t Msix::pba_dword(std::uint64_t index) const noexcept {
    std::uint32_t bits = 0;
    for (std::uint64_t bit = 0; bit < 32 && index * 32 + bit < count_; ++bit) {
        if (pending(vectors_[index * 32 + bit])) bits |= 1U << bit;
    }
    return bits;
}

void Msix::write_table_dword(std::uint64_t index, std::uint32_t value) noexcept {
    State::Entry& entry = vectors_[index / dwords_per_entry].entry;
    std::uint64_t& address = entry.message.address;
    switch (index % dwords_per_entry * dword) {
        case PCI_MSIX_ENTRY_LOWER_ADDR:
            address = (address >> 32 << 32) | (value & ~3U);
            break;
        case PCI_MSIX_ENTRY_UPPER_ADDR:
            address = (address & 0xffffffff) | std::uint64_t{value} << 32;
            break;
        case PCI_MSIX_ENTRY_DATA:
            entry.message.data = value;
            break;
        default:
            entry.masked = (value & PCI_MSIX_ENTRY_CTRL_MASKBIT) != 0;
    }
}

void Msix::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const std::uint64_t at = offset + i;
        const std::uint32_t value =
            at < pba_offset() ? table_dword(at / dword) : pba_dword((at - pba_offset()) / dword);
        bytes[i] = static_cast<std::byte>(value >> (8 * (at % dword)));
    }
}

void Msix::write(std::uint64_t offset, std::span<const std::byte> bytes) noexcept {
    if ((bytes.size() != 4 && bytes.size() != 8) || offset % bytes.size() != 0 ||
        offset >= count_ * entry_size) {
        return;
    }
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < bytes.size(); i += dword) {
        std::uint32_t value = 0;
        std::memcpy(&value, bytes.data() + i, sizeof value);
        write_table_dword((offset + i) / dword, value);
    }
    settle(vectors_[offset / entry_size]);
}

void Msix::reset() noexcept {
    const std::lock_guard lock(mutex_);
    enabled_ = false;
    function_masked_ = false;
    for (Vector& vector : vectors_) vector.entry = {};
    settle_all();
}

Msix::State Msix::save() const {
    const std::lock_guard lock(mutex_);
    State state{.enabled = enabled_, .function_masked = function_masked_, .entries = {}};
    for (const Vector& vector : vectors_) {
        state.entries.push_back(vector.entry);
        state.entries.back().pending = pending(vector);
    }
    return state;
}

void Msix::load(const State& state) {
    if (state.version != State::current_version || state.entries.size() != count_) {
        throw Error(
            "MSI-X state of version {} with {} vectors cannot be loaded: version {} with {} "
            "is needed",
            state.version, state.entries.size(), State::current_version, count_);
    }
    const std::lock_guard lock(mutex_);
    enabled_ = state.enabled;
    function_masked_ = state.function_masked;
    for (std::size_t i = 0; i < count_; ++i) vectors_[i].entry = state.entries[i];
    settle_all();
}

}  // namespace viaduct::pci
