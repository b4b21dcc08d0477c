#include "tests/fuzz/chain_walk.hpp"

#include <cstring>

namespace viaduct::fuzz {
namespace {

constexpr std::uint64_t descriptor_bytes = 16;
constexpr unsigned flag_next = 1;
constexpr unsigned flag_write = 2;
constexpr unsigned flag_indirect = 4;

struct Entry {
    Buffer buffer;
    unsigned flags = 0;
    std::uint16_t next = 0;
};

std::optional<Entry> entry_at(const Walk& walk, Iova address) {
    const std::byte* bytes = walk.read(address, descriptor_bytes);
    if (bytes == nullptr) return std::nullopt;
    Entry entry;
    std::uint16_t flags = 0;
    std::memcpy(&entry.buffer.address.value, bytes, 8);
    std::memcpy(&entry.buffer.length, bytes + 8, 4);
    std::memcpy(&flags, bytes + 12, 2);
    std::memcpy(&entry.next, bytes + 14, 2);
    entry.flags = flags;
    entry.buffer.writable = (flags & flag_write) != 0;
    return entry;
}

}  // namespace

std::optional<std::vector<Buffer>> walk_chain(const Walk& walk, std::uint16_t head) {
    std::vector<Buffer> buffers;
    Iova table = walk.table;
    std::uint64_t entries = walk.ring_size;
    bool in_indirect = false;
    std::uint64_t at = head;
    for (bool more = true; more;) {
        if (at >= entries) return std::nullopt;
        const auto entry = entry_at(walk, table + at * descriptor_bytes);
        if (!entry) return std::nullopt;
        if ((entry->flags & flag_indirect) != 0) {
            const std::uint64_t length = entry->buffer.length;
            const bool forbidden = !walk.indirect || in_indirect || (entry->flags & flag_next) != 0;
            if (forbidden || length == 0 || length % descriptor_bytes != 0) return std::nullopt;
            if (walk.read(entry->buffer.address, length) == nullptr) return std::nullopt;
            table = entry->buffer.address;
            entries = length / descriptor_bytes;
            in_indirect = true;
            at = 0;
            continue;
        }
        if (!buffers.empty() && buffers.back().writable && !entry->buffer.writable) {
            return std::nullopt;
        }
        buffers.push_back(entry->buffer);
        if (buffers.size() > walk.longest) return std::nullopt;
        more = (entry->flags & flag_next) != 0;
        at = entry->next;
    }
    return buffers;
}

}  // namespace viaduct::fuzz
