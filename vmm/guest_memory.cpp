#include "vmm/guest_memory.hpp"

#include <linux/memfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "base/error.hpp"

namespace viaduct::vmm {
namespace {

/// A line of /proc/meminfo: a count for HugePages_Free, KiB for Hugepagesize. 0 when absent.
std::uint64_t meminfo(const std::string& wanted) {
    std::ifstream file("/proc/meminfo");
    std::string name;
    std::uint64_t value = 0;
    std::string unit;
    while (file >> name >> value) {
        if (name == wanted) return value;
        std::getline(file, unit);
    }
    return 0;
}

void check_whole_huge_pages(std::uint64_t bytes) {
    const std::uint64_t page = meminfo("Hugepagesize:") * 1024;
    if (page == 0) throw Error("hugepages=on: this host's kernel has no huge pages");
    if (bytes % page != 0) {
        throw Error("hugepages=on: {} bytes of memory are not a multiple of the huge page size, {}",
                    bytes, page);
    }
}

[[noreturn]] void throw_too_few_huge_pages(std::uint64_t bytes) {
    const std::uint64_t page = meminfo("Hugepagesize:") * 1024;
    const std::uint64_t free = meminfo("HugePages_Free:");
    throw Error(
        "hugepages=on: {} huge pages of {} KiB are needed, {} are free: reserve more (sysctl "
        "vm.nr_hugepages=N)",
        bytes / page, page / 1024, free - std::min(free, meminfo("HugePages_Rsvd:")));
}

Fd create_memfd(std::uint64_t bytes, PageSize page_size) {
    const bool huge = page_size == PageSize::huge;
    if (huge) check_whole_huge_pages(bytes);
    Fd fd(::memfd_create("guest-memory", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0U)));
    if (!fd) throw SystemError("memfd_create for guest memory");
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
        throw SystemError(fmt::format("cannot make {} bytes of guest memory", bytes));
    }
    return fd;
}

/// Ordinary pages come when they are touched. Huge ones are set aside here, where it can be said
/// that there are too few: a guest that touches one that is not to be had ends by SIGBUS.
Mapping map_memory(const Fd& memfd, std::uint64_t bytes, PageSize page_size) {
    const bool huge = page_size == PageSize::huge;
    try {
        return {"guest memory", bytes, PROT_READ | PROT_WRITE,
                MAP_SHARED | (huge ? 0 : MAP_NORESERVE), memfd.get()};
    } catch (const SystemError& failure) {
        if (!huge || failure.code() != ENOMEM) throw;
        throw_too_few_huge_pages(bytes);
    }
}

std::uint64_t total(std::span<const firmware::MemoryRange> ranges) {
    std::uint64_t bytes = 0;
    for (const firmware::MemoryRange& range : ranges) bytes += range.size;
    return bytes;
}

}  // namespace

GuestMemory::GuestMemory(std::span<const firmware::MemoryRange> ranges, PageSize page_size)
    : memfd_(create_memfd(total(ranges), page_size)),
      mapping_(map_memory(memfd_, total(ranges), page_size)) {
    std::size_t offset = 0;
    for (const firmware::MemoryRange& range : ranges) {
        address_space_.map({Iova{range.base.value}, mapping_.bytes().subspan(offset, range.size)});
        offset += range.size;
    }
}

bool GuestMemory::overlaps(Gpa address, std::uint64_t size) const noexcept {
    const auto regions = address_space_.regions();
    return std::any_of(regions.begin(), regions.end(), [&](const MemoryRegion& region) {
        return address.value < region.end() && region.iova.value < address.value + size;
    });
}

}  // namespace viaduct::vmm
