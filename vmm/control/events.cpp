#include "vmm/control/events.hpp"

namespace viaduct::control {
namespace {

Member guest_did_it(std::string_view what) {
    return {.name = "guest", .type = ArgumentType::boolean, .doc = what};
}

Member device_id() {
    return {.name = "id", .type = ArgumentType::string, .doc = "the device"};
}

}  // namespace

const std::vector<Event>& events() {
    static const std::vector<Event> table{
        {.name = "RESET",
         .doc = "The machine was reset.",
         .members = {guest_did_it("whether the guest asked for it"),
                     {.name = "reason",
                      .type = ArgumentType::string,
                      .doc = "why",
                      .values = {"guest-reset", "host-qmp-system-reset"}}}},
        {.name = "RESUME", .doc = "The machine goes on after a stop."},
        {.name = "SHUTDOWN",
         .doc = "The machine has ended; the last event.",
         .members = {guest_did_it("whether the guest brought it about"),
                     {.name = "reason",
                      .type = ArgumentType::string,
                      .doc = "why",
                      .values = {"guest-shutdown", "host-signal", "host-ui", "host-error",
                                 "host-qmp-quit"}}}},
        {.name = "STOP", .doc = "The vCPUs are paused and the devices at rest."},
        {.name = "VDPA_DATAPATH_CHANGED",
         .doc = "A device's data path was switched; the guest saw latency and nothing else.",
         .members = {device_id(),
                     {.name = "from", .type = ArgumentType::string, .doc = "the path before"},
                     {.name = "to", .type = ArgumentType::string, .doc = "the path now"},
                     {.name = "blackout-us",
                      .type = ArgumentType::size,
                      .doc = "how long no request was carried, in microseconds"},
                     {.name = "drain-us",
                      .type = ArgumentType::size,
                      .doc = "how long what was in flight took to complete"},
                     {.name = "in-flight-at-start",
                      .type = ArgumentType::size,
                      .doc = "requests that were with the device when the switch began"}}},
        {.name = "VDPA_DEVICE_BROKEN",
         .doc = "A device failed. Its guest finds NEEDS_RESET, the machine runs on, and the "
                "guest's next reset opens the device again.",
         .members = {device_id(),
                     {.name = "reason", .type = ArgumentType::string, .doc = "what failed"}}},
    };
    return table;
}

}  // namespace viaduct::control
