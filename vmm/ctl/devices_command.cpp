#include <array>
#include <chrono>
#include <memory>
#include <string_view>

#include <CLI/CLI.hpp>
#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "devices/virtio/spec.hpp"
#include "vdpa/management/kernel_module.hpp"
#include "vdpa/management/persistent_binding.hpp"
#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/doctor_text.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/host_device_text.hpp"
#include "vmm/ctl/new_device.hpp"
#include "vmm/ctl/table.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using management::Driver;
using management::Roots;
using management::VdpaBus;
using management::VdpaFamily;

/// For a node to appear: a driver asks the device, and a daemon may stand behind it.
constexpr std::chrono::seconds patience_for_nodes{30};

Driver driver_named(const std::string& word) {
    return word == "vhost" ? Driver::vhost : Driver::virtio;
}

template <typename T>
json::array json_list(const std::vector<T>& list) {
    json::array array;
    for (const T& one : list) array.push_back(json_of(one));
    return array;
}

void list_devices(Session& session) {
    std::vector<management::HostDevice> devices;
    const bool has_bus = VdpaBus().exists();
    if (has_bus) {
        VdpaFamily family;
        devices = management::host_devices({}, family);
    }
    if (session.as_json()) return Session::print_json(json_list(devices));
    if (!devices.empty()) return Session::print(host_device_table(devices));
    Session::print(has_bus ? "no vDPA devices (viaductctl devices add makes one)\n"
                           : "no vDPA devices: the kernel's vdpa module is not loaded (viaductctl "
                             "devices doctor tells what is missing)\n");
}

void list_parents(Session& session) {
    VdpaFamily family;
    const auto parents = family.management_devices();
    if (session.as_json()) return Session::print_json(json_list(parents));
    Session::print(parents.empty() ? "nothing here makes vDPA devices (modprobe vduse)\n"
                                   : parent_table(parents));
}

void show_device(Session& session, const std::string& name) {
    VdpaFamily family;
    const auto device = management::host_device({}, family, name);
    if (session.as_json()) return Session::print_json(json_of(device));
    Session::print(host_device_properties(device));
}

void examine(Session& session) {
    const auto findings = management::check_host(management::this_host());
    if (session.as_json()) {
        Session::print_json(json_of(findings));
    } else {
        Session::print(findings_text(findings));
    }
    if (const std::size_t count = missing(findings); count != 0) {
        throw Error("vhost-vdpa cannot be used here: {} of the checks name what is missing", count);
    }
}

/// Drivers of virtio devices, for hosts whose udev does not load them: there may be none.
void load_virtio_driver(const std::string& device) {
    VdpaFamily family;
    const auto id = management::host_device({}, family, device).entry.device_id;
    if (id == virtio::device_id::net) management::load_module("virtio_net");
    if (id == virtio::device_id::block) management::load_module("virtio_blk");
}

/// Binds it, for good if asked to, and waits for its node.
void bind_device(const std::string& name, Driver driver, bool persist) {
    const VdpaBus bus;
    if (bus.driver(name) != management::kernel_name(driver)) {
        management::load_module(management::kernel_name(driver));
        if (driver == Driver::virtio) load_virtio_driver(name);
        bus.bind(name, driver);
    }
    (void)bus.wait_for_node(name, patience_for_nodes);
    if (persist) management::keep_driver({}, name, driver);
}

/// What came of a change.
void report_device(Session& session, const std::string& name) {
    VdpaFamily family;
    const auto device = management::host_device({}, family, name);
    if (session.as_json()) return Session::print_json(json_of(device));
    Session::print(fmt::format("{}: {}{}\n", printable(name),
                               device.driver ? "bound to " + *device.driver : "bound to no driver",
                               device.node ? ", " + device.node->name : ""));
}

/// Parents that are a module of their own: there once it is loaded.
struct ParentModule {
    std::string_view parent;
    const char* module;
};

constexpr std::array parent_modules{
    ParentModule{"vduse", "vduse"},
    ParentModule{"vdpasim_blk", "vdpa_sim_blk"},
    ParentModule{"vdpasim_net", "vdpa_sim_net"},
};

/// As typed.
struct AddRequest {
    NewDeviceText device;
    std::string features;
    std::string driver;
    bool persist = false;
};

std::uint64_t features_for(VdpaFamily& family, const std::string& parent, const std::string& text) {
    for (const auto& known : family.management_devices()) {
        if (known.handle() == parent) return parse_features(device_id_of(known), text);
    }
    return parse_features(0, text);
}

void add_device(Session& session, const AddRequest& request, management::NewDevice device) {
    for (const ParentModule& known : parent_modules) {
        if (known.parent == device.parent) management::load_module(known.module);
    }
    {
        VdpaFamily family;
        if (!request.features.empty()) {
            device.features = features_for(family, device.parent, request.features);
        }
        family.add(device);
    }
    if (!request.driver.empty()) {
        bind_device(device.name, driver_named(request.driver), request.persist);
    }
    report_device(session, device.name);
}

void remove_device(Session& session, const std::string& name) {
    if (!VdpaBus().has(name) && management::persistent_driver({}, name)) {
        management::forget_driver({}, name);
        if (session.as_json()) return Session::print_json(json::object{});
        return Session::print(fmt::format(
            "{}: there is no such device now; what would have bound it is removed\n", name));
    }
    VdpaFamily family;
    const auto device = management::host_device({}, family, name);
    VdpaBus().refuse_when_in_use(name, "remove it");
    family.remove(name);
    const bool kept = management::forget_driver({}, name);
    if (session.as_json()) return Session::print_json(json_of(device));
    Session::print(fmt::format("{}: removed{}\n", printable(name),
                               kept ? ", and so is what bound it at boot" : ""));
}

void add_add(CLI::App& devices, Command& chosen) {
    auto request = std::make_shared<AddRequest>();
    CLI::App& command = *devices.add_subcommand("add", "make a device");
    command.add_option("NAME", request->device.name, "its name from then on")->required();
    command
        .add_option("PARENT", request->device.parent,
                    "what makes it, as devices parents names it: vduse, pci/0000:3b:00.2")
        ->required();
    command.add_option("--mac", request->device.mac, "a card's address, as in 52:54:00:12:34:56");
    command.add_option("--mtu", request->device.mtu, "a card's MTU, in bytes");
    command.add_option("--max-vqp", request->device.max_vqp, "how many pairs of queues a card has");
    command.add_option("--features", request->features,
                       "the features that it shall have, and no others: names with commas "
                       "between, or 0x… for the bits");
    command
        .add_option("--bind", request->driver,
                    "the driver to have it; without, the kernel gives it to any that is loaded")
        ->check(CLI::IsMember({"vhost", "virtio"}));
    command.add_flag("--persist", request->persist, "with --bind: see devices bind");
    command.callback([request, &chosen] {
        if (request->persist && request->driver.empty()) {
            throw UsageError("--persist keeps a binding: say which with --bind");
        }
        chosen = [request, device = parse_new_device(request->device)](Session& session) {
            add_device(session, *request, device);
        };
    });
}

void add_bind(CLI::App& devices, Command& chosen) {
    struct Request {
        std::string name;
        std::string driver;
        bool persist = false;
    };
    auto request = std::make_shared<Request>();
    CLI::App& command = *devices.add_subcommand(
        "bind", "give a device to vhost (/dev/vhost-vdpa-N) or to virtio (a disk, an interface)");
    command.add_option("NAME", request->name, "the device")->required();
    command.add_option("DRIVER", request->driver, "vhost or virtio")
        ->required()
        ->check(CLI::IsMember({"vhost", "virtio"}));
    command.add_flag("--persist", request->persist,
                     "also whenever a device of this name appears, after a reboot too: a rule for "
                     "udev, in the place of an earlier one; devices del removes it");
    command.callback([request, &chosen] {
        chosen = [request](Session& session) {
            bind_device(request->name, driver_named(request->driver), request->persist);
            report_device(session, request->name);
        };
    });
}

using NamedAction = void (*)(Session&, const std::string&);

void add_named(CLI::App& devices, Command& chosen, const char* word, const char* doc,
               NamedAction action) {
    auto name = std::make_shared<std::string>();
    CLI::App& command = *devices.add_subcommand(word, doc);
    command.add_option("NAME", *name, "the device")->required();
    command.callback([name, action, &chosen] {
        chosen = [name, action](Session& session) { action(session, *name); };
    });
}

}  // namespace

void add_devices_command(CLI::App& app, Command& chosen) {
    CLI::App& devices = *app.add_subcommand(host_command, "the host's vDPA devices; needs no -s");
    devices.add_subcommand("parents", "what can make devices")->callback([&] {
        chosen = list_parents;
    });
    add_named(devices, chosen, "show", "all that is known of a device", show_device);
    add_add(devices, chosen);
    add_named(devices, chosen, "del",
              "remove a device, and the rule that devices bind --persist made for it",
              remove_device);
    add_bind(devices, chosen);
    devices
        .add_subcommand("doctor",
                        "what this host lacks to run machines on vDPA devices, and what mends it")
        ->callback([&] { chosen = examine; });
    // CLI11 calls it after the one of a command below.
    devices.callback([&] {
        if (devices.get_subcommands().empty()) chosen = list_devices;
    });
}

}  // namespace viaduct::ctl
