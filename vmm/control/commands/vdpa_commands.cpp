#include <boost/json/value_from.hpp>

#include "devices/virtio/spec.hpp"
#include "vmm/control/commands/commands.hpp"

namespace viaduct::control {
namespace {

using datapath::GuestDevice;

std::string_view name_of(datapath::Policy policy) {
    switch (policy) {
        case datapath::Policy::automatic:
            return "auto";
        case datapath::Policy::fast:
            return "fast";
        case datapath::Policy::fast_only:
            return "fast-only";
    }
    return "unknown";
}

std::string_view name_of(GuestDevice::State state) {
    switch (state) {
        case GuestDevice::State::idle:
            return "idle";
        case GuestDevice::State::fast:
            return "fast";
        case GuestDevice::State::broken:
            return "broken";
    }
    return "unknown";
}

boost::json::array queues_of(const virtio::TransportSnapshot& transport) {
    boost::json::array queues;
    for (std::size_t index = 0; index < transport.queues.size(); ++index) {
        const virtio::QueueSetup& setup = transport.queues[index].setup;
        queues.push_back({{"index", index},
                          {"size", setup.size},
                          {"ready", setup.enabled},
                          {"descriptor-area", setup.descriptors.value},
                          {"driver-area", setup.driver_area.value},
                          {"device-area", setup.device_area.value}});
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
    return {{"id", guest.id()},
            {"path", guest.path()},
            {"device-id", type},
            {"device-type", virtio::device_type_name(type)},
            {"policy", name_of(guest.policy())},
            {"datapath", name_of(guest.state())},
            {"status", transport.status},
            {"needs-reset", guest.needs_reset()},
            {"device-features", names(guest.device_features())},
            {"offered-features", names(guest.offered_features())},
            {"features", names(transport.negotiated_features)},
            {"msix-enabled", transport.msix_enabled},
            {"config-size", guest.config_size()},
            {"config-generation", transport.config_generation},
            {"queues", queues_of(transport)}};
}

}  // namespace

void add_vdpa_commands(CommandTable& table, const vmm::Machine& machine) {
    table.add({.name = "query-vdpa",
               .doc = "The vDPA devices, what the guest has made of them, and their data paths.",
               .run = [&](const Arguments&) -> boost::json::value {
                   boost::json::array devices;
                   for (const auto& device : machine.devices()) {
                       devices.push_back(describe(*device));
                   }
                   return devices;
               }});
}

}  // namespace viaduct::control
