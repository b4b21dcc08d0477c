#include "vdpa/export/driver_memory.hpp"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace viaduct::vduse {
namespace {

constexpr std::uint64_t last_address = std::numeric_limits<std::uint64_t>::max();
/// Of one piece, and more pieces than any machine has.
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 46;
constexpr std::size_t most_pieces = 4096;

/// Whether a file holds the kernel's own pages for a driver of the host: their place in it is their
/// I/O virtual address (vduse_domain_mmap in iova_domain.c).
bool is_kernels_domain(const Fd& file) {
    std::array<char, 64> name{};
    const std::string link = fmt::format("/proc/self/fd/{}", file.get());
    const ssize_t length = ::readlink(link.c_str(), name.data(), name.size());
    return length > 0 &&
           std::string_view(name.data(), static_cast<std::size_t>(length)).find("vduse-domain") !=
               std::string_view::npos;
}

/// hugetlbfs maps whole pages of its own size only; a piece may begin and end within one.
std::uint64_t page_bytes(const Fd& file) {
    struct statfs system {};
    if (::fstatfs(file.get(), &system) != 0 || system.f_type != HUGETLBFS_MAGIC) return 1;
    return std::bit_floor(static_cast<std::uint64_t>(system.f_bsize));
}

}  // namespace

DriverMemory::DriverMemory(Node& node, std::uint64_t bounce_bytes) {
    std::uint64_t from = 0;
    while (const auto entry = node.iotlb_entry(from, last_address)) {
        if (entry->last.value < from || regions_.size() >= most_pieces) {
            throw Error("the driver's memory makes no sense: {:#x} to {:#x} after {:#x}",
                        entry->first.value, entry->last.value, from);
        }
        if (regions_.empty() && bounce_bytes != 0 && entry->first.value >= bounce_bytes &&
            is_kernels_domain(entry->file)) {
            add(entry->file, 0, Iova{0}, Iova{bounce_bytes - 1}, true);
        }
        add(entry->file, entry->offset, entry->first, entry->last, entry->writable);
        if (entry->last.value == last_address) break;
        from = entry->last.value + 1;
    }
}

void DriverMemory::add(const Fd& file, std::uint64_t offset, Iova first, Iova last, bool writable) {
    const std::uint64_t bytes = last.value - first.value + 1;
    if (last.value < first.value || bytes == 0 || bytes > most_bytes) {
        throw Error("a piece of the driver's memory makes no sense: {:#x} to {:#x}", first.value,
                    last.value);
    }
    const std::uint64_t page = page_bytes(file);
    const std::uint64_t before = offset & (page - 1);
    const std::uint64_t whole = (before + bytes + page - 1) & ~(page - 1);
    mappings_.emplace_back("the driver's memory", whole, PROT_READ | (writable ? PROT_WRITE : 0),
                           MAP_SHARED, file.get(), static_cast<off_t>(offset - before));
    const auto mapped = mappings_.back().bytes();
    lent_.emplace_back(mapped);
    regions_.push_back({first, mapped.subspan(before, bytes), writable});
}

}  // namespace viaduct::vduse
