#include "vdpa/datapath/shadow_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace viaduct::datapath {
namespace {

using virtio::SplitRing;

constexpr std::uint64_t page = 4096;
/// Beyond it lie addresses that some IOMMUs do not translate.
constexpr std::uint64_t highest_end = std::uint64_t{1} << 47U;

/// A chain in an indirect table may be longer than the ring that it is made available in: drivers
/// go by the device's own limits (a disk's seg_max), and those by the longest ring that it has.
constexpr std::uint16_t longest_chain(std::uint16_t device_maximum) {
    return std::max<std::uint16_t>(device_maximum, 256);
}

/// What most requests need: a header, a status and data in a few pieces.
constexpr std::uint16_t small_table_entries = 16;
constexpr std::uint16_t most_large_tables = 32;

constexpr std::uint64_t round_up(std::uint64_t bytes, std::uint64_t alignment) {
    return (bytes + alignment - 1) / alignment * alignment;
}

/// Where things stand in a queue's room.
struct Layout {
    std::uint64_t avail;
    std::uint64_t used;
    std::uint64_t small;
    std::uint64_t large;
    std::uint64_t end;
};

std::uint16_t large_tables(std::uint16_t size) {
    return std::min(size, most_large_tables);
}

Layout layout_of(std::uint16_t size, std::uint16_t device_maximum) {
    constexpr std::uint64_t entry = sizeof(virtio::Descriptor);
    Layout layout{};
    layout.avail = SplitRing::descriptor_table_bytes(size);
    // A cache line of its own for each side's index.
    layout.used = round_up(layout.avail + SplitRing::avail_bytes(size), 64);
    layout.small = round_up(layout.used + SplitRing::used_bytes(size), 64);
    layout.large = layout.small + entry * small_table_entries * size;
    layout.end = layout.large + entry * longest_chain(device_maximum) * large_tables(size);
    return layout;
}

Fd create_memfd(std::uint64_t bytes) {
    Fd fd(::memfd_create("shadow-rings", MFD_CLOEXEC));
    if (!fd) throw SystemError("memfd_create for shadow rings");
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
        throw SystemError(fmt::format("cannot make {} bytes of shadow rings", bytes));
    }
    return fd;
}

/// The highest room for `bytes` in the range that no region of guest memory touches.
std::optional<Iova> find_room(std::uint64_t bytes, vdpa::IovaRange range,
                              const AddressSpace& guest_memory) {
    std::uint64_t end = range.last.value >= highest_end ? highest_end : range.last.value + 1;
    end -= end % page;
    const auto regions = guest_memory.regions();
    for (auto region = regions.rbegin();; ++region) {
        if (end < bytes || end - bytes < range.first.value) return std::nullopt;
        if (region == regions.rend() || region->end() <= end - bytes) return Iova{end - bytes};
        if (region->iova.value < end) end = region->iova.value - region->iova.value % page;
    }
}

}  // namespace

ShadowMemory::ShadowMemory(std::span<const std::uint16_t> queue_sizes, vdpa::IovaRange range,
                           const AddressSpace& guest_memory)
    : queue_sizes_(queue_sizes.begin(), queue_sizes.end()) {
    std::uint64_t bytes = 0;
    for (const std::uint16_t size : queue_sizes) {
        offsets_.push_back(bytes);
        bytes += round_up(layout_of(size, size).end, page);
    }
    offsets_.push_back(bytes);
    const auto room = find_room(bytes, range, guest_memory);
    if (!room) {
        throw Error(
            "the device reaches addresses from {:#x} to {:#x}, and guest memory leaves no {} KiB "
            "of them for the rings of the slow path: give the guest less memory, or use "
            "datapath=fast-only",
            range.first.value, range.last.value, bytes / 1024);
    }
    const Fd memfd = create_memfd(bytes);
    mapping_ = Mapping("shadow rings", bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get());
    region_ = {*room, mapping_.bytes()};
    space_.map(region_);
}

ShadowQueue ShadowMemory::lay_out(unsigned queue, std::uint16_t size) {
    const std::uint64_t offset = offsets_[queue];
    const Iova start = region_.iova + offset;
    const auto room = region_.bytes.subspan(offset, offsets_[queue + 1] - offset);
    const Layout layout = layout_of(size, queue_sizes_[queue]);
    // Tables are written before they are named: what they held does not matter.
    std::memset(room.data(), 0, layout.small);
    const virtio::QueueSetup setup{size, start, start + layout.avail, start + layout.used, true};
    const auto ring = SplitRing::find(space_, setup);
    if (!ring) throw Error("a shadow ring of {} entries cannot be laid out", size);
    return {
        setup,
        *ring,
        {start + layout.small, room.subspan(layout.small, layout.large - layout.small),
         small_table_entries},
        {start + layout.large, room.subspan(layout.large, layout.end - layout.large),
         longest_chain(queue_sizes_[queue])},
    };
}

}  // namespace viaduct::datapath
