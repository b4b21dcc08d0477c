#include <boost/json/value_from.hpp>

#include "devices/virtio/spec.hpp"
#include "vmm/control/commands/commands.hpp"
#include "vmm/control/commands/shapes.hpp"

namespace viaduct::control {
namespace {

using datapath::GuestDevice;

std::string_view name_of(GuestDevice::State state) {
    switch (state) {
        case GuestDevice::State::idle:
            return "idle";
        case GuestDevice::State::fast:
            return "fast";
        case GuestDevice::State::slow:
            return "slow";
        case GuestDevice::State::broken:
            return "broken";
    }
    return "unknown";
}

boost::json::object counters_of(const datapath::QueueStatistics& queue) {
    return {{"kicks", queue.kicks.value()},
            {"spurious-kicks", queue.spurious_kicks.value()},
            {"batches", queue.batches.value()},
            {"chains", queue.chains.value()},
            {"bytes", queue.bytes.value()},
            {"device-kicks", queue.device_kicks.value()},
            {"device-calls", queue.device_calls.value()},
            {"interrupts", queue.interrupts.value()},
            {"interrupts-suppressed", queue.suppressed.value()},
            {"throttled-requests", queue.throttled_requests.value()},
            {"throttled-ns", queue.throttled_nanoseconds.value()},
            {"faults", queue.faults.value()}};
}

boost::json::array queues_of(const GuestDevice& guest, const virtio::TransportSnapshot& transport) {
    boost::json::array queues;
    for (std::size_t index = 0; index < transport.queues.size(); ++index) {
        const virtio::QueueSetup& setup = transport.queues[index].setup;
        queues.push_back({{"index", index},
                          {"size", setup.size},
                          {"ready", setup.enabled},
                          {"descriptor-area", setup.descriptors.value},
                          {"driver-area", setup.driver_area.value},
                          {"device-area", setup.device_area.value}});
        if (index < guest.records().size()) {
            queues.back().as_object()["counters"] = counters_of(guest.records()[index].statistics);
        }
    }
    return queues;
}

boost::json::object describe(const vmm::Machine::Device& device) {
    const GuestDevice& guest = device.guest_device;
    const virtio::TransportSnapshot transport = device.transport->snapshot();
    const std::uint32_t type = guest.device_id();
    const auto names = [&](std::uint64_t features) {
        return boost::json::value_from(virtio::feature_names(type, features));
    };
    boost::json::object described{{"id", guest.id()},
                                  {"path", guest.path()},
                                  {"device-id", type},
                                  {"device-type", virtio::device_type_name(type)},
                                  {"policy", datapath::name_of(guest.policy())},
                                  {"switchable", guest.switchable()},
                                  {"datapath", name_of(guest.state())},
                                  {"status", transport.status},
                                  {"needs-reset", guest.needs_reset()},
                                  {"device-features", names(guest.device_features())},
                                  {"offered-features", names(guest.offered_features())},
                                  {"features", names(transport.negotiated_features)},
                                  {"msix-enabled", transport.msix_enabled},
                                  {"config-size", guest.config_size()},
                                  {"config-generation", transport.config_generation},
                                  {"queues", queues_of(guest, transport)}};
    if (guest.switchable()) described["poll-us"] = guest.longest_poll().count();
    return described;
}

}  // namespace

void add_vdpa_commands(CommandTable& table, const vmm::Machine& machine) {
    table.add({.name = "query-vdpa",
               .doc = "The vDPA devices, what the guest has made of them, and their data paths.",
               .returns = vdpa_devices_shape(),
               .run = [&](const Arguments&) -> boost::json::value {
                   boost::json::array devices;
                   for (const auto& device : machine.devices()) {
                       devices.push_back(describe(*device));
                   }
                   return devices;
               }});
}

}  // namespace viaduct::control
