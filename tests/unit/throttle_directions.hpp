/// What the throttle calls a direction (see datapath::LimitBuckets), by its name.
#pragma once

namespace viaduct::datapath {

inline constexpr bool read = false;
inline constexpr bool write = true;

inline constexpr unsigned endless = 1'000'000;  // requests: nothing limits them

}  // namespace viaduct::datapath
