/// The QMP interface as query-qmp-schema tells it: QEMU's array of SchemaInfo (its
/// qapi/introspect.json), made from the command table and the event table.
///
/// Entries are commands and events, then the types they refer to: the builtin ones by QEMU's names
/// (every whole number is an "int"), "[T]" for an array of T, and objects and enumerations named by
/// where they occur: "query-stats.arguments", "query-stats.return", "SHUTDOWN.data",
/// "query-stats.arguments.target". A command without arguments or result, and an event without
/// members, have the type "empty". An optional member has the default null.
#pragma once

#include <boost/json/array.hpp>

#include "vmm/control/command_table.hpp"

namespace viaduct::control {

[[nodiscard]] boost::json::array schema_of(const CommandTable& table);

/// What schema_of() returns, as a command table says it: a SchemaInfo's members, those of its
/// variants as optional ones.
[[nodiscard]] Returned schema_shape();

}  // namespace viaduct::control
