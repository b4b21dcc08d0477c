#include "vdpa/soft/image/failure_log.hpp"

#include <system_error>
#include <utility>

namespace viaduct::soft {
namespace {

const char* word_for(OperationKind kind) {
    switch (kind) {
        case OperationKind::read:
            return "a read";
        case OperationKind::write:
            return "a write";
        case OperationKind::flush:
            return "a flush";
        case OperationKind::discard:
            return "a discard";
        case OperationKind::write_zeroes:
            return "writing zeroes";
    }
    return "a request";
}

}  // namespace

FailureLog::FailureLog(std::string image, const char* where)
    : image_(std::move(image)), where_(where), lines_(fmt::format("image '{}', errors", image_)) {}

void FailureLog::failed(OperationKind kind, std::uint64_t offset, int error) noexcept {
    lines_.warning("image '{}': {} at {} failed {}: {}", image_, word_for(kind), offset, where_,
                   std::generic_category().message(error));
}

}  // namespace viaduct::soft
