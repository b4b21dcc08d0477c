#include "tests/support/fake_iotlb.hpp"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

namespace viaduct::test {
namespace {

std::uint64_t last_of(const vhost_iotlb_msg& message) {
    return message.iova + message.size - 1;
}

}  // namespace

std::string FakeIotlb::name_of(std::uint8_t type) {
    switch (type) {
        case VHOST_IOTLB_UPDATE:
            return "IOTLB_UPDATE";
        case VHOST_IOTLB_INVALIDATE:
            return "IOTLB_INVALIDATE";
        case VHOST_IOTLB_BATCH_BEGIN:
            return "IOTLB_BATCH_BEGIN";
        case VHOST_IOTLB_BATCH_END:
            return "IOTLB_BATCH_END";
        default:
            return fmt::format("IOTLB message {}", type);
    }
}

std::string FakeIotlb::describe(const vhost_iotlb_msg& message) {
    if (message.type != VHOST_IOTLB_UPDATE && message.type != VHOST_IOTLB_INVALIDATE) return {};
    return fmt::format(" {:#x} {:#x}", std::uint64_t{message.iova}, std::uint64_t{message.size});
}

int FakeIotlb::handle(const vhost_iotlb_msg& message, std::uint64_t first, std::uint64_t last) {
    switch (message.type) {
        case VHOST_IOTLB_UPDATE:
            return add(message, first, last);
        case VHOST_IOTLB_INVALIDATE:
            remove(message);
            return 0;
        case VHOST_IOTLB_BATCH_BEGIN:
        case VHOST_IOTLB_BATCH_END:
            in_batch_ = message.type == VHOST_IOTLB_BATCH_BEGIN;
            return 0;
        default:
            return EINVAL;
    }
}

int FakeIotlb::add(const vhost_iotlb_msg& message, std::uint64_t first, std::uint64_t last) {
    if (message.size == 0 || last_of(message) < message.iova || message.iova < first ||
        last_of(message) > last) {
        return EINVAL;
    }
    const bool overlaps =
        std::any_of(entries_.begin(), entries_.end(), [&](const FakeVdpaParent::Entry& entry) {
            return entry.iova <= last_of(message) && message.iova <= entry.iova + entry.size - 1;
        });
    if (overlaps) return EEXIST;
    entries_.push_back({message.iova, message.size, message.uaddr});
    return 0;
}

void FakeIotlb::remove(const vhost_iotlb_msg& message) {
    std::erase_if(entries_, [&](const FakeVdpaParent::Entry& entry) {
        return entry.iova >= message.iova && entry.iova + entry.size - 1 <= last_of(message);
    });
}

}  // namespace viaduct::test
