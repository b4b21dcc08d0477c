/// What the commands about devices return, member by member, for query-qmp-schema and the
/// reference.
#pragma once

#include "vmm/control/command_table.hpp"

namespace viaduct::control {

/// query-vdpa.
[[nodiscard]] Returned vdpa_devices_shape();
/// vdpa-set-datapath.
[[nodiscard]] Returned switch_report_shape();
/// query-block.
[[nodiscard]] Returned block_devices_shape();
/// query-blockstats.
[[nodiscard]] Returned block_statistics_shape();

}  // namespace viaduct::control
