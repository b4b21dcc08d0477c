#include "tests/support/fake_vduse_node.hpp"

#include <fcntl.h>

namespace viaduct::test {

std::optional<vduse::IotlbEntry> FakeVduseNode::iotlb_entry(std::uint64_t from, std::uint64_t to) {
    for (const Piece& piece : pieces) {
        if (piece.last < from || piece.first > to) continue;
        return vduse::IotlbEntry{.file = Fd(::fcntl(piece.file, F_DUPFD_CLOEXEC, 0)),
                                 .offset = piece.offset,
                                 .first = Iova{piece.first},
                                 .last = Iova{piece.last},
                                 .writable = piece.writable};
    }
    return std::nullopt;
}

}  // namespace viaduct::test
