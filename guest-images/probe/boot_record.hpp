// What the loader told us, from PVH's hvm_start_info or from Linux's boot_params, copied out of its
// memory at start so that low memory is free to use afterwards.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest-images/probe/text.hpp"

namespace probe {

enum class MemoryType : uint32_t { ram = 1, reserved = 2, acpi = 3, nvs = 4 };

struct MemoryRange {
    uint64_t start;
    uint64_t size;
    MemoryType type;

    constexpr uint64_t end() const { return start + size; }
};

class MemoryMap {
public:
    static constexpr size_t capacity = 64;

    void add(const MemoryRange& range) {
        if (size_ < capacity) ranges_[size_++] = range;
    }
    const MemoryRange* begin() const { return ranges_; }
    const MemoryRange* end() const { return ranges_ + size_; }
    size_t size() const { return size_; }

private:
    MemoryRange ranges_[capacity]{};
    size_t size_ = 0;
};

enum class BootProtocol { pvh, boot_params };

struct BootRecord {
    BootProtocol protocol = BootProtocol::pvh;
    uint32_t pvh_version = 0;
    uint64_t rsdp = 0;
    Text command_line;
    MemoryMap memory_map;
};

// Reads the loader's structures; the first call in the program.
void read_boot_record();
const BootRecord& boot_record();

}  // namespace probe
