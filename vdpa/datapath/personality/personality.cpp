#include "vdpa/datapath/personality/personality.hpp"

#include <algorithm>
#include <array>

#include "vdpa/datapath/personality/block.hpp"
#include "vdpa/datapath/personality/net.hpp"

namespace viaduct::datapath {
namespace {

constexpr std::array personalities{block_personality, net_personality};

}  // namespace

const char* name_of(RequestKind kind) noexcept {
    switch (kind) {
        case RequestKind::read:
            return "read";
        case RequestKind::write:
            return "write";
        case RequestKind::flush:
            return "flush";
        case RequestKind::discard:
            return "discard";
        case RequestKind::other:
            return "other";
    }
    return "unknown";
}

const Personality* find_personality(std::uint32_t device_id) noexcept {
    const auto* const found =
        std::find_if(personalities.begin(), personalities.end(),
                     [&](const Personality& known) { return known.device_id == device_id; });
    return found == personalities.end() ? nullptr : found;
}

}  // namespace viaduct::datapath
