// Recognisable sector contents: every 8-byte word of a sector holds a value made of the sector's
// number and a seed, so that a misplaced, stale or torn sector shows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest-images/probe/block.hpp"

namespace probe::pattern {

// `bytes` is a multiple of the sector size.
void fill(void* buffer, uint64_t first_sector, uint64_t bytes, uint32_t seed);
void check(const void* buffer, uint64_t first_sector, uint64_t bytes, uint32_t seed);

// All words of a buffer equal one value.
void fill_with(void* buffer, uint64_t bytes, uint64_t word);
bool is_filled_with(const void* buffer, uint64_t bytes, uint64_t word);

// Writes a pattern through the queue and reads it back into another buffer.
void write_and_verify(block::Queue& queue, uint64_t sector, uint32_t bytes, uint32_t seed);

}  // namespace probe::pattern
