/// The limits of a disk: what the options of `throttle` make of those in force. They are the
/// arguments of block_set_io_throttle, which sets all limits at once: what the operator does not
/// name is said again as query-block reports it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace viaduct::ctl {

/// One of the six limits. Each has a burst ("_max") and the burst's length in seconds
/// ("_max_length").
struct Limit {
    std::string_view name;  // in QMP; options have '-' for '_'
    bool is_size;           // bytes a second, else requests a second
    std::string_view what;
};

inline constexpr std::array limits{
    Limit{.name = "bps", .is_size = true, .what = "bytes a second, reads and writes together"},
    Limit{.name = "bps_rd", .is_size = true, .what = "bytes read a second"},
    Limit{.name = "bps_wr", .is_size = true, .what = "bytes written a second"},
    Limit{.name = "iops", .is_size = false, .what = "requests a second, reads and writes together"},
    Limit{.name = "iops_rd", .is_size = false, .what = "reads a second"},
    Limit{.name = "iops_wr", .is_size = false, .what = "writes a second"},
};

/// What the operator named, by QMP's names: {"iops": 100, "iops_max": 200}.
struct LimitChange {
    std::map<std::string, std::uint64_t, std::less<>> numbers;
    std::string group;  // empty: as it is
};

/// The device's element of query-block's reply. Throws Error that lists the devices when it has
/// none of that id.
[[nodiscard]] const boost::json::value& block_device(const boost::json::value& reply,
                                                     std::string_view device);

/// The element of query-block's reply whose limits a change begins with: the device's, or that of a
/// disk in the group that it is to join. Throws as block_device().
[[nodiscard]] const boost::json::value& limits_to_change(const boost::json::value& reply,
                                                         std::string_view device,
                                                         const std::string& group);

/// Arguments of block_set_io_throttle. `block`: as of limits_to_change(). A limit that is set to 0
/// takes its burst along, and a burst its length, and the last one of requests the size of a
/// request, unless they are named too. Throws Error for a group that is to have no limits: all
/// zeroes would take the device out of it.
[[nodiscard]] boost::json::object changed_limits(std::string_view device,
                                                 const boost::json::value& block,
                                                 const LimitChange& change);

/// The arguments that lift every limit.
[[nodiscard]] boost::json::object no_limits(std::string_view device);

/// A table of the limits in force, of all devices in query-block's reply or of one.
[[nodiscard]] std::string limit_table(const boost::json::array& blocks);

/// "iops 100, bps_rd 10 MiB/s, group g", "-" without any.
[[nodiscard]] std::string limit_summary(const boost::json::value& block);

}  // namespace viaduct::ctl
