#include "vmm/ctl/throttle.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/table.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

std::string burst_of(const Limit& limit) {
    return std::string(limit.name) + "_max";
}

std::string length_of(const Limit& limit) {
    return std::string(limit.name) + "_max_length";
}

/// What the limits were and what is to be of them.
class Change {
public:
    Change(const json::value& inserted, const LimitChange& change)
        : inserted_(inserted), change_(change) {}

    [[nodiscard]] bool is_named(const std::string& name) const {
        return change_.numbers.contains(name);
    }
    [[nodiscard]] std::optional<std::uint64_t> value(const std::string& name) const {
        if (const auto named = change_.numbers.find(name); named != change_.numbers.end()) {
            return named->second;
        }
        return number(inserted_, name);
    }

private:
    const json::value& inserted_;
    const LimitChange& change_;
};

/// Whether `name` is said again only because it was, while what it belongs to is lifted.
bool goes_along(const Change& change, const std::string& name, const std::string& owner) {
    return !change.is_named(name) && change.is_named(owner) && change.value(owner) == 0U;
}

void add_burst(json::object& arguments, const Change& change, const Limit& limit) {
    const std::string name(limit.name);
    const std::string burst = burst_of(limit);
    const std::string length = length_of(limit);
    const bool burst_goes = goes_along(change, burst, name);
    if (const auto value = change.value(burst); value && !burst_goes) arguments[burst] = *value;
    const bool length_goes =
        !change.is_named(length) && (burst_goes || goes_along(change, length, burst));
    if (const auto value = change.value(length); value && !length_goes) arguments[length] = *value;
}

/// What it counts is gone with the last limit of requests.
std::optional<std::uint64_t> size_of_request(const Change& change) {
    const bool counts_requests = std::ranges::any_of(limits, [&](const Limit& limit) {
        return !limit.is_size && change.value(std::string(limit.name)).value_or(0) != 0;
    });
    if (!counts_requests && !change.is_named("iops_size")) return std::nullopt;
    return change.value("iops_size");
}

std::string amount(const Limit& limit, std::uint64_t value) {
    return limit.is_size ? format_size(static_cast<double>(value)) + "/s" : std::to_string(value);
}

std::string group_of(const json::value& block) {
    return text(member(block, "inserted"), "group", "");
}

void add_rows(Table& table, const json::value& block) {
    const json::value& inserted = member(block, "inserted");
    for (const Limit& limit : limits) {
        const auto value = number(inserted, limit.name).value_or(0);
        if (value == 0) continue;
        const auto burst = number(inserted, burst_of(limit)).value_or(0);
        const auto length = number(inserted, length_of(limit)).value_or(1);
        table.add({text(block, "device"), std::string(limit.name), amount(limit, value),
                   burst == 0 ? "-" : amount(limit, burst),
                   burst == 0 ? "-" : fmt::format("{} s", length), group_of(block)});
    }
}

}  // namespace

const json::value& block_device(const json::value& reply, std::string_view device) {
    std::vector<std::string> known;
    for (const json::value& block : elements(reply)) {
        if (text(block, "device") == device || text(block, "qdev") == device) return block;
        known.push_back(text(block, "device"));
    }
    throw Error("there is no disk '{}': {}", device,
                known.empty() ? "the machine has none"
                              : fmt::format("the machine has {}", fmt::join(known, ", ")));
}

const json::value& limits_to_change(const json::value& reply, std::string_view device,
                                    const std::string& group) {
    const json::value& own = block_device(reply, device);
    if (group.empty()) return own;
    for (const json::value& block : elements(reply)) {
        if (group_of(block) == group) return block;
    }
    return own;
}

json::object changed_limits(std::string_view device, const json::value& block,
                            const LimitChange& wanted) {
    const json::value& inserted = member(block, "inserted");
    const Change change(inserted, wanted);
    json::object arguments{{"id", device}};
    for (const Limit& limit : limits) {
        const std::string name(limit.name);
        arguments[name] = change.value(name).value_or(0);
    }
    for (const Limit& limit : limits) add_burst(arguments, change, limit);
    if (const auto size = size_of_request(change)) arguments["iops_size"] = *size;
    const std::string group = wanted.group.empty() ? group_of(block) : wanted.group;
    if (!group.empty()) arguments["group"] = group;
    const bool has_limits = std::ranges::any_of(limits, [&](const Limit& limit) {
        return arguments.at(limit.name).to_number<std::uint64_t>() != 0;
    });
    if (!wanted.group.empty() && !has_limits) {
        throw Error("the group '{}' has no limits to share: say which it is to have", wanted.group);
    }
    return arguments;
}

json::object no_limits(std::string_view device) {
    json::object arguments{{"id", device}};
    for (const Limit& limit : limits) arguments[limit.name] = 0;
    return arguments;
}

std::string limit_table(const json::array& blocks) {
    Table table({{"device"},
                 {"limit"},
                 {"average", Align::right},
                 {"burst", Align::right},
                 {"for", Align::right},
                 {"group"}});
    for (const json::value& block : blocks) add_rows(table, block);
    return table.empty() ? "no limits\n" : table.text();
}

std::string limit_summary(const json::value& block) {
    std::vector<std::string> parts;
    for (const Limit& limit : limits) {
        const auto value = number(member(block, "inserted"), limit.name).value_or(0);
        if (value != 0) parts.push_back(fmt::format("{} {}", limit.name, amount(limit, value)));
    }
    if (parts.empty()) return "-";
    if (const auto group = group_of(block); !group.empty()) parts.push_back("group " + group);
    return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace viaduct::ctl
