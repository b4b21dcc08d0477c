#include "vdpa/datapath/personality/personality.hpp"

#include <algorithm>
#include <array>

#include "devices/virtio/spec.hpp"

namespace viaduct::datapath {
namespace {

constexpr std::array personalities{
    Personality{.device_id = virtio::device_id::block, .drains = true, .switchable = true},
    Personality{.device_id = virtio::device_id::net, .drains = false, .switchable = false},
};

}  // namespace

const Personality* find_personality(std::uint32_t device_id) noexcept {
    const auto* const found =
        std::find_if(personalities.begin(), personalities.end(),
                     [&](const Personality& known) { return known.device_id == device_id; });
    return found == personalities.end() ? nullptr : found;
}

}  // namespace viaduct::datapath
