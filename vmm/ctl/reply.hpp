/// Reading replies that may come from an older or newer machine, or from QEMU: a member that is
/// missing or of another kind reads as nothing, never as a failure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

namespace viaduct::ctl {

/// The member of that name; null when there is none, or `from` is not an object.
[[nodiscard]] const boost::json::value& member(const boost::json::value& from,
                                               std::string_view name);
/// It would end with the temporary; an object becomes one on its way here.
const boost::json::value& member(boost::json::value&& from, std::string_view name) = delete;

/// The elements of an array; none of anything else.
[[nodiscard]] const boost::json::array& elements(const boost::json::value& list);
const boost::json::array& elements(boost::json::value&& list) = delete;

[[nodiscard]] std::optional<std::uint64_t> number(const boost::json::value& from,
                                                  std::string_view name);
[[nodiscard]] std::string text(const boost::json::value& from, std::string_view name,
                               std::string_view otherwise = "-");
/// False also when it is missing.
[[nodiscard]] bool flag(const boost::json::value& from, std::string_view name);

/// The number of that name in digits, "-" when there is none.
[[nodiscard]] std::string digits(const boost::json::value& from, std::string_view name);

}  // namespace viaduct::ctl
