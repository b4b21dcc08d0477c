#include "guest-images/probe/pages.hpp"

#include "guest-images/probe/boot.h"
#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/cpu.hpp"
#include "guest-images/probe/report.hpp"

extern "C" uint8_t image_end[];
extern "C" uint64_t boot_page_tables[512];

namespace probe {
namespace {

constexpr uint64_t large_page = 1ULL << 21;
constexpr uint64_t table_address_mask = 0x000ffffffffff000;

struct Pool {
    uint64_t next;
    uint64_t end;
};
constinit Pool pool{};

void find_pool() {
    const uint64_t image = address_of(image_end);
    for (const MemoryRange& range : boot_record().memory_map) {
        if (range.type != MemoryType::ram || image < range.start || image >= range.end()) continue;
        constexpr uint64_t four_gib = 1ULL << 32;
        pool = {image, range.end() < four_gib ? range.end() : four_gib};
    }
    CHECK(pool.end != 0, "the memory map has no RAM at the image's end");
}

uint64_t* next_table(uint64_t& entry) {
    if (entry == 0) entry = address_of(allocate(4096)) | PAGE_PRESENT_WRITABLE;
    return at_address<uint64_t>(entry & table_address_mask);
}

}  // namespace

void* allocate(size_t size, size_t alignment) {
    if (pool.end == 0) find_pool();
    const uint64_t start = (pool.next + alignment - 1) & ~(uint64_t{alignment} - 1);
    CHECK(start < pool.end && size <= pool.end - start, "out of memory: ", size, " bytes wanted");
    pool.next = start + size;
    auto* memory = at_address<void>(start);
    __builtin_memset(memory, 0, size);
    return memory;
}

void map_identity(uint64_t start, uint64_t size) {
    const uint64_t first = start & ~(large_page - 1);
    for (uint64_t page = first; page - first < size + (start - first); page += large_page) {
        uint64_t* pointers = next_table(boot_page_tables[page >> 39 & 511]);
        uint64_t* directory = next_table(pointers[page >> 30 & 511]);
        directory[page >> 21 & 511] = page | PAGE_LARGE | PAGE_PRESENT_WRITABLE;
    }
}

unsigned physical_address_bits() {
    constexpr uint32_t address_size_leaf = 0x80000008;
    if (cpuid(0x80000000).eax < address_size_leaf) return 36;
    return cpuid(address_size_leaf).eax & 0xff;
}

}  // namespace probe
