#include "vmm/config.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <initializer_list>
#include <iostream>
#include <limits>
#include <map>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>

#include "base/error.hpp"
#include "base/nearest_name.hpp"
#include "devices/pci/host_bus.hpp"
#include "vmm/control/address.hpp"
#include "vmm/properties.hpp"

namespace viaduct::vmm {
namespace {

constexpr std::uint16_t default_debug_exit_port = 0xf4;

std::uint16_t parse_queue_size(const std::string& value) {
    const auto entries =
        static_cast<unsigned>(parse_number("--device vdpa: queue-size", value, 1, 0x8000));
    if (!std::has_single_bit(entries)) {
        throw Error("--device vdpa: queue-size={} is not a power of two: use {} or {}", entries,
                    std::bit_floor(entries), std::bit_ceil(entries));
    }
    return static_cast<std::uint16_t>(entries);
}

datapath::Policy parse_policy(const std::string& value) {
    if (value == "auto") return datapath::Policy::automatic;
    if (value == "fast") return datapath::Policy::fast;
    if (value == "slow") return datapath::Policy::slow;
    if (value == "fast-only") return datapath::Policy::fast_only;
    throw Error("--device vdpa: datapath={} is not known: use auto, fast, slow or fast-only",
                value);
}

void check_source(const DeviceConfig& device, const std::string& text) {
    const int sources = (device.path.empty() ? 0 : 1) + (device.image.empty() ? 0 : 1) +
                        (device.fd.has_value() ? 1 : 0);
    if (sources != 1) {
        throw Error(
            "--device {}: one of path=/dev/vhost-vdpa-N, image=FILE or fd=N is needed, {} are "
            "given",
            text, sources);
    }
    if (device.image.empty() && (device.queues != 1 || device.read_only || !device.serial.empty() ||
                                 !device.suspend || device.pin_memory)) {
        throw Error(
            "--device {}: queues=, readonly=, serial=, suspend= and pin-memory= go with image= "
            "only: a vDPA device has its own",
            text);
    }
}

void check_reconnect_delay(const DeviceConfig& device, const Properties& properties,
                           const std::string& text) {
    const bool given =
        std::any_of(properties.pairs.begin(), properties.pairs.end(),
                    [](const auto& pair) { return pair.first == "reconnect-delay"; });
    if (!given || soft::network_image(device.image)) return;
    throw Error(
        "--device {}: reconnect-delay= goes with an image= on a network only (nbd://…, "
        "nbd+unix://…, rbd:…)",
        text);
}

/// "--name" of the option nearest to what was typed, of all that `apps` know.
std::string nearest_option(std::string_view typed, std::initializer_list<const CLI::App*> apps) {
    std::vector<std::string> names;
    for (const CLI::App* app : apps) {
        for (const CLI::Option* option : app->get_options()) {
            for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
        }
    }
    const std::vector<std::string_view> views(names.begin(), names.end());
    return std::string(nearest_name(typed, views));
}

void refuse_leftovers(const CLI::App& app) {
    const auto leftovers = app.remaining();
    if (leftovers.empty()) return;
    throw Error("unknown option '{}': did you mean '{}'? (viaduct run --help lists all)",
                leftovers.front(), nearest_option(leftovers.front(), {&app}));
}

/// `first` stands where the command should: a word that is none, or an option.
void refuse_misplaced(const CLI::App& app, const CLI::App& run, std::string_view first) {
    const auto leftovers = app.remaining();
    // What stands behind the command is none of this.
    if (leftovers.empty() || leftovers.front() != first) return;
    if (!first.starts_with('-')) {
        throw Error("unknown command '{}': did you mean 'run'? (viaduct run --help tells more)",
                    first);
    }
    const std::string nearest = nearest_option(first, {&app, &run});
    if (app.get_option_no_throw(nearest) != nullptr) {
        throw Error("unknown option '{}': did you mean '{}'? (viaduct --help lists all)", first,
                    nearest);
    }
    throw Error("option '{}' stands before the command: did you mean 'viaduct run {} ...'?", first,
                nearest);
}

void refuse_duplicates(const std::vector<DeviceConfig>& devices) {
    std::set<std::string> ids;
    std::set<int> fds;
    for (const DeviceConfig& device : devices) {
        if (!ids.insert(device.id).second) {
            throw Error("--device: id '{}' is given twice: each device needs its own", device.id);
        }
        if (device.fd && !fds.insert(*device.fd).second) {
            throw Error("--device: fd={} is given twice: each device needs its own", *device.fd);
        }
    }
}

/// Each has a slot of the bus to itself; the first is the host bridge's.
void refuse_too_many(const std::vector<DeviceConfig>& devices) {
    constexpr std::size_t room = pci::HostBus::slot_count - 1;
    if (devices.size() <= room) return;
    throw Error("--device is given {} times: a machine has room for {}, leave {} away",
                devices.size(), room, devices.size() - room);
}

/// A group has limits once: who gives others gives up the first ones.
void refuse_contradictory_groups(const std::vector<DeviceConfig>& devices) {
    std::map<std::string, const DeviceConfig*> limited;
    for (const DeviceConfig& device : devices) {
        if (!device.throttle.limits.any()) continue;
        const std::string& group =
            device.throttle.group.empty() ? device.id : device.throttle.group;
        const auto [first, is_first] = limited.emplace(group, &device);
        if (is_first || first->second->throttle.limits == device.throttle.limits) continue;
        throw Error(
            "--device: '{}' and '{}' share the throttle group '{}' and give it different limits: "
            "give them to one of the two, or the same to both",
            first->second->id, device.id, group);
    }
}

void parse_memory(const std::string& text, Config& config) {
    const Properties properties = parse_properties("--memory", text);
    config.memory = parse_size(properties.head);
    const std::array setters{PropertySetter{"hugepages", [&](const std::string& value) {
                                                const bool huge =
                                                    parse_switch("--memory: hugepages", value);
                                                config.page_size =
                                                    huge ? PageSize::huge : PageSize::small;
                                            }}};
    apply_properties("--memory", properties, setters);
}

std::uint16_t parse_port(const std::string& value) {
    return static_cast<std::uint16_t>(parse_number("--debug-exit", value, 1, 0xffff));
}

/// The texts as typed; what they mean is looked at when all are known.
struct Raw {
    std::string memory;
    std::string debug_exit;
    std::string log_level;
    std::vector<std::string> devices;
};

void add_options(CLI::App& run, Config& config, Raw& raw) {
    // Of an option given twice the last counts, but for the lists.
    run.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    run.add_option("--kernel", config.kernel, "bzImage, vmlinux or another PVH or ELF64 image")
        ->required()
        ->type_name("FILE");
    run.add_option("--initrd", config.initrd, "initial RAM disk")->type_name("FILE");
    run.add_option("--append", config.append, "kernel command line")->type_name("TEXT");
    run.add_option("--memory", raw.memory, "guest memory, default 512M")
        ->type_name("SIZE[,hugepages=on]");
    run.add_option("--cpus", config.cpus, "vCPUs, default 1")
        ->type_name("N")
        ->check(CLI::Range(1U, Config::max_cpus));
    run.add_option("--device", raw.devices, "a device; repeat for more")
        ->type_name("vdpa,(path=|image=|fd=)...")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
    run.add_option("--serial", config.serial, "16550 at 0x3f8, default stdio")
        ->type_name("stdio|none|pty|file:PATH|unix:PATH");
    run.add_option("--qmp", config.qmp,
                   "where QMP is spoken (ADDR 127.0.0.1 or [::1]); repeat for "
                   "more")
        ->type_name("unix:PATH|tcp:ADDR:PORT|stdio")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->allow_extra_args(false);
    run.add_option("--debug-exit", raw.debug_exit,
                   "a guest's write of V to PORT (default 0xf4) ends with status (V << 1) | 1")
        ->type_name("[PORT]")
        ->expected(0, 1);
    run.add_option("--name", config.name, "what query-name and ps show")->type_name("TEXT");
    run.add_option("--log-level", raw.log_level, "default warning")
        ->type_name("debug|info|warning|error|off");
    run.allow_extras();
}

void interpret(const CLI::App& run, const Raw& raw, Config& config) {
    if (!raw.memory.empty()) parse_memory(raw.memory, config);
    if (run.count("--debug-exit") != 0) {
        config.debug_exit_port =
            raw.debug_exit.empty() ? default_debug_exit_port : parse_port(raw.debug_exit);
    }
    if (!raw.log_level.empty()) config.log_level = log::level_by_name(raw.log_level);
    for (const std::string& text : raw.devices) {
        config.devices.push_back(parse_device(text, config.devices.size()));
    }
    refuse_too_many(config.devices);
    refuse_duplicates(config.devices);
    refuse_contradictory_groups(config.devices);
    control::check_addresses(config.qmp, config.serial);
}

}  // namespace

std::uint64_t parse_size(const std::string& text) {
    std::uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    const std::string_view suffix(stop, static_cast<std::size_t>(end - stop));
    unsigned shift = 20;  // MiB, as QEMU's -m
    if (suffix == "K" || suffix == "k") {
        shift = 10;
    } else if (suffix == "G" || suffix == "g") {
        shift = 30;
    } else if (suffix == "T" || suffix == "t") {
        shift = 40;
    } else if (!suffix.empty() && suffix != "M" && suffix != "m") {
        shift = 64;
    }
    if (error != std::errc{} || shift == 64 || number == 0 ||
        number > std::numeric_limits<std::uint64_t>::max() >> shift) {
        throw Error("--memory: '{}' is not a size: write it as 512M or 2G", text);
    }
    return number << shift;
}

DeviceConfig parse_device(const std::string& text, std::size_t index) {
    const Properties properties = parse_properties("--device", text);
    if (properties.head != "vdpa") {
        throw Error("--device {}: '{}' is not a kind of device: only vdpa is (vdpa,path=…)", text,
                    properties.head);
    }
    DeviceConfig device;
    device.id = fmt::format("vdpa{}", index);
    std::vector setters{
        PropertySetter{"path", [&](const auto& value) { device.path = value; }},
        PropertySetter{"image", [&](const auto& value) { device.image = value; }},
        PropertySetter{"fd",
                       [&](const auto& value) {
                           device.fd = static_cast<int>(
                               parse_number("--device vdpa: fd", value, 0, 1 << 20));
                       }},
        PropertySetter{"id", [&](const auto& value) { device.id = value; }},
        PropertySetter{"datapath", [&](const auto& value) { device.policy = parse_policy(value); }},
        PropertySetter{"queue-size",
                       [&](const auto& value) { device.queue_size = parse_queue_size(value); }},
        PropertySetter{"queues",
                       [&](const auto& value) {
                           device.queues = static_cast<unsigned>(
                               parse_number("--device vdpa: queues", value, 1, 64));
                       }},
        PropertySetter{"readonly",
                       [&](const auto& value) {
                           device.read_only = parse_switch("--device vdpa: readonly", value);
                       }},
        PropertySetter{"serial", [&](const auto& value) { device.serial = value; }},
        PropertySetter{"suspend",
                       [&](const auto& value) {
                           device.suspend = parse_switch("--device vdpa: suspend", value);
                       }},
        PropertySetter{"pin-memory",
                       [&](const auto& value) {
                           device.pin_memory = parse_switch("--device vdpa: pin-memory", value);
                       }},
        PropertySetter{"reconnect-delay",
                       [&](const auto& value) {
                           device.reconnect_delay = std::chrono::seconds(
                               parse_number("--device vdpa: reconnect-delay", value, 0, 24 * 3600));
                       }},
        PropertySetter{"poll-us",
                       [&](const auto& value) {
                           device.poll = std::chrono::microseconds(
                               parse_number("--device vdpa: poll-us", value, 0, 1'000'000));
                       }},
    };
    for (PropertySetter& setter : throttle_setters(device.throttle)) {
        setters.push_back(std::move(setter));
    }
    apply_properties("--device vdpa", properties, setters);
    check_source(device, text);
    check_reconnect_delay(device, properties, text);
    datapath::check(device.throttle.limits);
    return device;
}

std::optional<Config> parse_command_line(int argc, char** argv) {
    CLI::App app{"Viaduct: a KVM virtual machine monitor for vDPA devices", "viaduct"};
    app.set_version_flag("--version", VIADUCT_VERSION);
    CLI::App& run = *app.add_subcommand("run", "run a virtual machine");
    // For those who write README.md; hidden, as it is of no use to a machine.
    const CLI::App& reference = *app.add_subcommand("qmp-reference", "")->group("");
    app.require_subcommand(1);
    Config config;
    Raw raw;
    add_options(run, config, raw);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        std::cout << (run.parsed() ? run : app).help();
        return std::nullopt;
    } catch (const CLI::CallForVersion& version) {
        std::cout << "viaduct " << version.what() << '\n';
        return std::nullopt;
    } catch (const CLI::ParseError& wrong) {
        refuse_misplaced(app, run, argc > 1 ? argv[1] : "");
        refuse_leftovers(run);
        throw Error("{} (viaduct run --help tells more)", wrong.what());
    }
    refuse_leftovers(run);
    config.prints_qmp_reference = reference.parsed();
    interpret(run, raw, config);
    return config;
}

}  // namespace viaduct::vmm
