/// `viaduct-export run`: an export until somebody ends it.
#pragma once

#include "vdpa/export/options.hpp"

namespace viaduct::vduse {

/// Prints the device's node once it can be used, and returns when the device is gone: after
/// SIGTERM, SIGINT or `viaduct-export stop`. While the device is in use it says so and goes on
/// until nobody uses it; a second signal ends it at once and leaves the device to the next daemon.
void run_daemon(const ExportOptions& options);

}  // namespace viaduct::vduse
