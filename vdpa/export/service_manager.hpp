/// What a service manager that started this program is told (sd_notify(3)): a datagram to the
/// socket that $NOTIFY_SOCKET names, nothing when there is none.
#pragma once

#include <string_view>

namespace viaduct::vduse {

/// "READY=1", "STOPPING=1", "STATUS=…"; several lines are separated by newlines.
void notify_service_manager(std::string_view state) noexcept;

}  // namespace viaduct::vduse
