#include "vmm/control/commands/shapes.hpp"

#include <string_view>

namespace viaduct::control {
namespace {

Member text(std::string_view name, std::string_view doc) {
    return {.name = name, .type = ArgumentType::string, .doc = doc};
}
Member count(std::string_view name, std::string_view doc = "") {
    return {.name = name, .type = ArgumentType::size, .doc = doc};
}
Member flag(std::string_view name, std::string_view doc = "") {
    return {.name = name, .type = ArgumentType::boolean, .doc = doc};
}
Member choice(std::string_view name, std::string_view doc, std::vector<std::string_view> values) {
    Member member = text(name, doc);
    member.values = std::move(values);
    return member;
}
Member object(std::string_view name, std::string_view doc, std::vector<Member> members) {
    return {.name = name, .type = ArgumentType::object, .doc = doc, .members = std::move(members)};
}
Member list(std::string_view name, std::string_view doc, ArgumentType element,
            std::vector<Member> members = {}) {
    return {.name = name,
            .type = ArgumentType::array,
            .doc = doc,
            .element = element,
            .members = std::move(members)};
}
Member optional(Member member) {
    member.need = Need::optional;
    return member;
}

Member relay_counters() {
    return object(
        "counters", "what its relay has seen, on the slow path",
        {count("kicks", "by the guest"),
         count("spurious-kicks", "of those, with nothing to be taken"),
         count("batches", "of chains taken at once"), count("chains"),
         count("bytes", "that the device was given to read, and those it has written"),
         count("device-kicks", "sent to the device"), count("device-calls", "received from it"),
         count("interrupts", "sent to the guest"),
         count("interrupts-suppressed", "that the guest did not want"),
         count("throttled-requests", "that had to wait for a limit"),
         count("throttled-ns", "how long, in nanoseconds"),
         count("faults", "stops because the guest's ring made no sense")});
}

std::vector<Member> limits() {
    return {count("bps", "bytes per second, 0: no limit"),
            count("bps_rd"),
            count("bps_wr"),
            count("iops", "requests per second, 0: no limit"),
            count("iops_rd"),
            count("iops_wr"),
            optional(count("bps_max", "bytes per second in a burst")),
            optional(count("bps_rd_max")),
            optional(count("bps_wr_max")),
            optional(count("iops_max", "requests per second in a burst")),
            optional(count("iops_rd_max")),
            optional(count("iops_wr_max")),
            optional(count("bps_max_length", "seconds that a burst may last")),
            optional(count("bps_rd_max_length")),
            optional(count("bps_wr_max_length")),
            optional(count("iops_max_length")),
            optional(count("iops_rd_max_length")),
            optional(count("iops_wr_max_length")),
            optional(count("iops_size", "bytes from which on a request counts as several")),
            optional(text("group", "while there are limits: what shares them"))};
}

std::vector<Member> block_backend() {
    std::vector<Member> members{
        text("file", "where its data is"),
        flag("ro", "read-only"),
        text("drv", "how it is reached"),
        flag("encrypted"),
        text("node-name", ""),
        count("backing_file_depth"),
        text("detect_zeroes", ""),
        count("write_threshold"),
        flag("active"),
        object("image", "",
               {text("filename", ""), text("format", ""), count("virtual-size", "in bytes"),
                flag("dirty-flag")}),
        object("cache", "", {flag("writeback"), flag("direct"), flag("no-flush")})};
    for (Member& limit : limits()) members.push_back(std::move(limit));
    return members;
}

Member histogram(std::string_view name, std::string_view doc) {
    return optional(
        object(name, doc,
               {list("boundaries", "in nanoseconds", ArgumentType::size),
                list("bins",
                     "one more: how many lie below the first boundary, between two, and from "
                     "the last on",
                     ArgumentType::size)}));
}

std::vector<Member> request_statistics() {
    return {
        count("rd_bytes"),
        count("wr_bytes"),
        optional(count("flush_bytes")),
        count("unmap_bytes"),
        count("rd_operations"),
        count("wr_operations"),
        count("flush_operations"),
        count("unmap_operations"),
        count("rd_total_time_ns", "from the taking of a request to its completion"),
        count("wr_total_time_ns"),
        count("flush_total_time_ns"),
        count("unmap_total_time_ns"),
        count("failed_rd_operations", "not among rd_operations"),
        count("failed_wr_operations"),
        count("failed_flush_operations"),
        count("failed_unmap_operations"),
        count("invalid_rd_operations", "QEMU has it; always 0"),
        count("invalid_wr_operations"),
        count("invalid_flush_operations"),
        count("invalid_unmap_operations"),
        count("rd_merged"),
        count("wr_merged"),
        count("unmap_merged"),
        optional(count("flush_merged")),
        count("wr_highest_offset", "QEMU has it; always 0"),
        list("timed_stats", "", ArgumentType::any),
        flag("account_invalid"),
        flag("account_failed"),
        histogram("rd_latency_histogram", "how long requests took; absent while there were none"),
        histogram("wr_latency_histogram", ""),
        histogram("flush_latency_histogram", ""),
        histogram("unmap_latency_histogram", ""),
        count("throttled_requests", "that had to wait for a limit"),
        count("throttled_time_ns", "how long")};
}

}  // namespace

Returned vdpa_devices_shape() {
    return array_of(
        {text("id", "its name"), text("path", "what stands behind it"),
         count("device-id", "its virtio device type"), text("device-type", "the same in words"),
         choice("policy", "what was asked for", {"auto", "fast", "slow", "fast-only"}),
         choice("datapath", "the path in use", {"idle", "fast", "slow", "broken"}),
         flag("switchable", "whether the path can change at run time"),
         optional(count("poll-us",
                        "of a switchable one: how long a relay polls before it sleeps, in "
                        "microseconds")),
         count("status", "as the guest has set it: device_status"),
         flag("needs-reset", "it waits for its guest's reset"),
         list("device-features", "what the device has", ArgumentType::string),
         list("offered-features", "what the guest is offered", ArgumentType::string),
         list("features", "what the guest took", ArgumentType::string), flag("msix-enabled"),
         count("config-size", "in bytes"), count("config-generation"),
         list("queues", "", ArgumentType::object,
              {count("index"), count("size", "in entries"), flag("ready", "the guest enabled it"),
               count("descriptor-area", "guest physical address"), count("driver-area"),
               count("device-area"), optional(relay_counters())})});
}

Returned switch_report_shape() {
    return object_of(
        {text("from", "the path before"), text("to", "the path now"),
         count("blackout-us", "how long no request was carried, in microseconds"),
         count("drain-us", "how long what was in flight took to complete"),
         count("in-flight-at-start",
               "requests of the guest that were not answered yet when the switch began")});
}

Returned block_devices_shape() {
    return array_of({text("device", "its id"), text("qdev", "the same"), text("type", ""),
                     flag("removable"), flag("locked"),
                     object("inserted", "what stands behind it", block_backend())});
}

Returned block_statistics_shape() {
    return array_of({optional(text("device", "its id, but with query-nodes")),
                     optional(text("qdev", "the same")), text("node-name", "its id"),
                     object("stats", "counted on the slow path only", request_statistics()),
                     list("queues", "the same for each queue", ArgumentType::object,
                          {count("index"), object("stats", "as above", request_statistics())})});
}

}  // namespace viaduct::control
