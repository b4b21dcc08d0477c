#include "vmm/ctl/host_device_text.hpp"

#include <bit>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/value_from.hpp>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include "devices/virtio/spec.hpp"
#include "vmm/ctl/table.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;
using management::HostDevice;
using management::ManagementDevice;

std::string type_of(const HostDevice& device) {
    return virtio::device_type_name(device.entry.device_id);
}

std::string size_or_mac(const HostDevice& device) {
    if (device.config.capacity) return format_size(static_cast<double>(*device.config.capacity));
    return device.config.mac ? text_of(*device.config.mac) : "-";
}

std::string users_text(const HostDevice& device) {
    if (!device.users.users.empty()) return management::text_of(device.users.users);
    return device.users.complete ? "-" : "? (ask as root)";
}

std::string joined(const std::vector<std::string>& names) {
    return names.empty() ? "-" : fmt::format("{}", fmt::join(names, " "));
}

std::vector<std::string> features_of(const HostDevice& device) {
    return virtio::feature_names(device.entry.device_id, device.config.features.value_or(0));
}

/// Bits of a management device: "net", "block".
std::vector<std::string> types_of(const ManagementDevice& parent) {
    std::vector<std::string> types;
    for (std::uint32_t id = 0; id < 64; ++id) {
        if ((parent.device_types >> id & 1U) != 0) types.push_back(virtio::device_type_name(id));
    }
    return types;
}

/// Names depend on the type: those that all its types have alike.
std::vector<std::string> feature_names_of(const ManagementDevice& parent) {
    const std::uint64_t types = parent.device_types;
    const bool one_type = std::has_single_bit(types);
    const auto id = one_type ? static_cast<std::uint32_t>(std::countr_zero(types)) : 0U;
    return virtio::feature_names(id, parent.features.value_or(0));
}

std::string persistent_text(const HostDevice& device) {
    return device.persistent ? management::kernel_name(*device.persistent) : "-";
}

std::string number_text(const auto& value) {
    return value ? fmt::format("{}", *value) : "-";
}

void add_disk_properties(const HostDevice& device,
                         std::vector<std::pair<std::string, std::string>>& properties) {
    const auto& config = device.config;
    if (config.capacity) {
        properties.emplace_back(
            "capacity",
            fmt::format("{} ({} bytes)", format_size(static_cast<double>(*config.capacity)),
                        *config.capacity));
    }
    if (config.block_size) {
        properties.emplace_back("block size", fmt::format("{} B", *config.block_size));
    }
    if (config.read_only) properties.emplace_back("read-only", *config.read_only ? "yes" : "no");
}

void add_net_properties(const HostDevice& device,
                        std::vector<std::pair<std::string, std::string>>& properties) {
    const auto& config = device.config;
    if (config.mac) properties.emplace_back("mac", text_of(*config.mac));
    if (config.mtu) properties.emplace_back("mtu", std::to_string(*config.mtu));
    if (config.max_queue_pairs) {
        properties.emplace_back("queue pairs", std::to_string(*config.max_queue_pairs));
    }
    if (config.link_up) properties.emplace_back("link", *config.link_up ? "up" : "down");
}

template <typename T>
void put(json::object& object, std::string_view name, const std::optional<T>& value) {
    if (value) object[name] = *value;
}

json::array json_of_users(const management::DeviceUsers& users) {
    json::array array;
    for (const auto& user : users.users) {
        array.push_back(user.pid != 0 ? json::object{{"pid", user.pid}, {"command", user.command}}
                                      : json::object{{"use", user.command}});
    }
    return array;
}

}  // namespace

std::string text_of(const management::MacAddress& mac) {
    return fmt::format("{:02x}", fmt::join(mac, ":"));
}

std::string host_device_table(const std::vector<HostDevice>& devices) {
    Table table({{"device"},
                 {"parent"},
                 {"type"},
                 {"bound to"},
                 {"node"},
                 {"queues", Align::right},
                 {"size/MAC"},
                 {"in use by"}});
    Table features({{"device"}, {"features"}});
    for (const HostDevice& device : devices) {
        table.add({device.entry.name, device.entry.parent, type_of(device),
                   device.driver.value_or("-"), device.node ? device.node->name : "-",
                   std::to_string(device.entry.max_queues), size_or_mac(device),
                   users_text(device)});
        features.add({device.entry.name, joined(features_of(device))});
    }
    return table.text() + "\n" + features.text();
}

std::string host_device_properties(const HostDevice& device) {
    std::vector<std::pair<std::string, std::string>> properties{
        {"name", device.entry.name},
        {"parent", device.entry.parent},
        {"type", type_of(device)},
        {"bound to", device.driver.value_or("-")},
        {"after a reboot", persistent_text(device)},
        {"node", device.node ? device.node->name : "-"},
        {"in use by", users_text(device)},
        {"queues", std::to_string(device.entry.max_queues)},
        {"queue size", fmt::format("{} to {} entries", device.entry.min_queue_size,
                                   device.entry.max_queue_size)}};
    add_disk_properties(device, properties);
    add_net_properties(device, properties);
    properties.emplace_back("features", joined(features_of(device)));
    if (device.config.negotiated_features) {
        properties.emplace_back("of these taken",
                                joined(virtio::feature_names(device.entry.device_id,
                                                             *device.config.negotiated_features)));
    }
    return property_list(properties);
}

json::object json_of(const HostDevice& device) {
    const auto& config = device.config;
    json::object object{{"name", device.entry.name},
                        {"parent", device.entry.parent},
                        {"device-id", device.entry.device_id},
                        {"type", type_of(device)},
                        {"vendor-id", device.entry.vendor_id},
                        {"queues", device.entry.max_queues},
                        {"min-queue-size", device.entry.min_queue_size},
                        {"max-queue-size", device.entry.max_queue_size},
                        {"in-use-by", json_of_users(device.users)},
                        {"all-users-seen", device.users.complete}};
    put(object, "driver", device.driver);
    if (device.persistent) {
        object["persistent-driver"] = management::kernel_name(*device.persistent);
    }
    if (device.node) object["node"] = device.node->name;
    if (config.features) object["features"] = json::value_from(features_of(device));
    if (config.negotiated_features) {
        object["negotiated-features"] = json::value_from(
            virtio::feature_names(device.entry.device_id, *config.negotiated_features));
    }
    if (config.mac) object["mac"] = text_of(*config.mac);
    put(object, "mtu", config.mtu);
    put(object, "max-queue-pairs", config.max_queue_pairs);
    put(object, "link-up", config.link_up);
    put(object, "capacity", config.capacity);
    put(object, "block-size", config.block_size);
    put(object, "read-only", config.read_only);
    return object;
}

std::string parent_table(const std::vector<ManagementDevice>& parents) {
    Table table({{"parent"}, {"types"}, {"queues", Align::right}, {"features"}});
    for (const ManagementDevice& parent : parents) {
        table.add({parent.handle(), joined(types_of(parent)), number_text(parent.max_queues),
                   joined(feature_names_of(parent))});
    }
    return table.text();
}

json::object json_of(const ManagementDevice& parent) {
    json::object object{{"name", parent.handle()}, {"types", json::value_from(types_of(parent))}};
    put(object, "max-queues", parent.max_queues);
    if (parent.features) object["features"] = json::value_from(feature_names_of(parent));
    return object;
}

}  // namespace viaduct::ctl
