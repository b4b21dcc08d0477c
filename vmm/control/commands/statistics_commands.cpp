#include "vmm/control/commands/commands.hpp"
#include "vmm/kvm/stats.hpp"

namespace viaduct::control {
namespace {

boost::json::array counters_of(const kvm::Stats& stats) {
    boost::json::array counters;
    for (const kvm::Statistic& statistic : stats.read()) {
        boost::json::value value;
        if (statistic.values.size() == 1) {
            value = statistic.values.front();
        } else {
            value = boost::json::array(statistic.values.begin(), statistic.values.end());
        }
        counters.push_back({{"name", statistic.name}, {"value", std::move(value)}});
    }
    return counters;
}

boost::json::value query_stats(const vmm::Machine& machine, const std::string& target) {
    boost::json::array results;
    if (target == "vm") {
        results.push_back({{"provider", "kvm"}, {"stats", counters_of(machine.vm_stats())}});
    } else {
        for (std::size_t index = 0; index < machine.vcpu_stats().size(); ++index) {
            results.push_back({{"provider", "kvm"},
                               {"qom-path", "/machine/cpu[" + std::to_string(index) + "]"},
                               {"stats", counters_of(machine.vcpu_stats()[index])}});
        }
    }
    return results;
}

Returned stats_shape() {
    return array_of(
        {{.name = "provider", .type = ArgumentType::string, .doc = "who counts", .values = {"kvm"}},
         {.name = "qom-path",
          .type = ArgumentType::string,
          .doc = "the vCPU",
          .need = Need::optional},
         {.name = "stats",
          .type = ArgumentType::array,
          .doc = "the counters",
          .element = ArgumentType::object,
          .members = {{.name = "name", .type = ArgumentType::string, .doc = "as KVM calls it"},
                      {.name = "value",
                       .type = ArgumentType::any,
                       .doc = "an integer, or an array of them: a histogram"}}}});
}

}  // namespace

void add_statistics_commands(CommandTable& table, const vmm::Machine& machine) {
    table.add({.name = "query-stats",
               .doc = "KVM's own counters, of the VM or of each vCPU. Of QEMU's arguments it takes "
                      "this one.",
               .parameters = {{.name = "target",
                               .type = ArgumentType::string,
                               .doc = "whose counters",
                               .values = {"vm", "vcpu"}}},
               .returns = stats_shape(),
               .run = [&](const Arguments& arguments) {
                   return query_stats(machine, arguments.get<std::string>("target"));
               }});
}

}  // namespace viaduct::control
