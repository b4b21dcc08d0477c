#include "guest-images/probe/scenarios/pattern.hpp"

#include "guest-images/probe/pages.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::pattern {
namespace {

constexpr uint64_t words_per_sector = block::sector_size / 8;

uint64_t word_of(uint64_t sector, uint32_t seed) {
    return (sector + 1) * 0x9e3779b97f4a7c15 ^ seed * 0xff51afd7ed558ccdULL;
}

// How many words from the start on equal `word`: one instruction, where a loop would take the
// emulator long.
uint64_t count_equal(const void* start, uint64_t words, uint64_t word) {
    uint64_t left = words;
    bool is_equal = true;
    asm volatile("repe scasq" : "+D"(start), "+c"(left), "=@ccz"(is_equal) : "a"(word) : "memory");
    return is_equal ? words : words - left - 1;
}

}  // namespace

void fill_with(void* buffer, uint64_t bytes, uint64_t word) {
    uint64_t words = bytes / 8;
    asm volatile("rep stosq" : "+D"(buffer), "+c"(words) : "a"(word) : "memory");
}

bool is_filled_with(const void* buffer, uint64_t bytes, uint64_t word) {
    return count_equal(buffer, bytes / 8, word) == bytes / 8;
}

void fill(void* buffer, uint64_t first_sector, uint64_t bytes, uint32_t seed) {
    auto* at = static_cast<uint8_t*>(buffer);
    for (uint64_t i = 0; i < bytes / block::sector_size; ++i, at += block::sector_size) {
        fill_with(at, block::sector_size, word_of(first_sector + i, seed));
    }
}

void check(const void* buffer, uint64_t first_sector, uint64_t bytes, uint32_t seed) {
    const auto* at = static_cast<const uint8_t*>(buffer);
    for (uint64_t i = 0; i < bytes / block::sector_size; ++i, at += block::sector_size) {
        const uint64_t expected = word_of(first_sector + i, seed);
        const uint64_t good = count_equal(at, words_per_sector, expected);
        if (good == words_per_sector) continue;
        FAIL("sector ", first_sector + i, " differs at byte ", good * 8, ": is ",
             hex(mmio_read<uint64_t>(address_of(at) + good * 8)), ", should be ", hex(expected));
    }
}

void write_and_verify(block::Queue& queue, uint64_t sector, uint32_t bytes, uint32_t seed) {
    void* written = allocate(bytes);
    void* read = allocate(bytes);
    fill(written, sector, bytes, seed);
    CHECK_EQUAL(queue.write(sector, written, bytes), block::Status::ok);
    fill_with(read, bytes, 0x5a5a5a5a5a5a5a5a);
    CHECK_EQUAL(queue.read(sector, read, bytes), block::Status::ok);
    check(read, sector, bytes, seed);
}

}  // namespace probe::pattern
