#include "tests/lab/vmm_observation.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.hpp"

namespace viaduct::test {
namespace {

namespace fs = std::filesystem;

fs::path proc(pid_t process) {
    return fs::path("/proc") / std::to_string(process);
}

/// The value of the line "NAME:<blanks>VALUE", empty when there is none.
std::string field(const fs::path& file, const std::string& name) {
    std::ifstream lines(file);
    std::string line;
    while (std::getline(lines, line)) {
        if (!line.starts_with(name + ":")) continue;
        const auto first = line.find_first_not_of(" \t", name.size() + 1);
        return first == std::string::npos ? "" : line.substr(first);
    }
    return {};
}

struct ThreadSnapshot {
    std::map<std::string, std::uint64_t> switches;
    bool all_asleep = true;
    friend bool operator==(const ThreadSnapshot&, const ThreadSnapshot&) = default;
};

ThreadSnapshot look_at_threads(pid_t vmm) {
    ThreadSnapshot snapshot;
    for (const auto& thread : fs::directory_iterator(proc(vmm) / "task")) {
        const fs::path status = thread.path() / "status";
        const std::string name = field(status, "Name");
        if (name.starts_with("vcpu-")) continue;
        const std::string waits = field(status, "voluntary_ctxt_switches");
        const std::string preemptions = field(status, "nonvoluntary_ctxt_switches");
        if (waits.empty() || preemptions.empty()) {  // it ends this very moment
            snapshot.all_asleep = false;
            continue;
        }
        snapshot.all_asleep &= field(status, "State").starts_with("S");
        snapshot.switches[name + "/" + thread.path().filename().string()] =
            std::stoull(waits) + std::stoull(preemptions);
    }
    return snapshot;
}

}  // namespace

std::map<std::string, std::uint64_t> exits_to_vmm(tests::QmpClient& qmp) {
    std::map<std::string, std::uint64_t> exits{{"mmio_exits", 0}, {"io_exits", 0}};
    const auto vcpus = qmp.execute("query-stats", {{"target", "vcpu"}});
    std::size_t found = 0;
    for (const auto& vcpu : vcpus.as_array()) {
        for (const auto& counter : vcpu.at("stats").as_array()) {
            const auto exit = exits.find(std::string(counter.at("name").as_string()));
            if (exit == exits.end()) continue;
            exit->second += counter.at("value").to_number<std::uint64_t>();
            ++found;
        }
    }
    if (found != exits.size() * vcpus.as_array().size() || found == 0) {
        throw Error("query-stats does not tell every vCPU's mmio_exits and io_exits");
    }
    return exits;
}

std::map<std::string, std::uint64_t> context_switches(pid_t vmm) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    ThreadSnapshot before = look_at_threads(vmm);
    while (std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        ThreadSnapshot now = look_at_threads(vmm);
        if (now.all_asleep && now == before) return now.switches;
        before = std::move(now);
    }
    throw Error("the VMM's threads do not come to rest");
}

std::map<std::string, std::uint64_t> eventfd_counts(pid_t vmm) {
    std::map<std::string, std::uint64_t> counts;
    for (const auto& descriptor : fs::directory_iterator(proc(vmm) / "fdinfo")) {
        const std::string count = field(descriptor.path(), "eventfd-count");
        if (!count.empty()) counts[descriptor.path().filename()] = std::stoull(count, nullptr, 16);
    }
    return counts;
}

std::size_t pages_mapped(pid_t vmm, const std::string& path) {
    std::size_t pages = 0;
    std::ifstream lines(proc(vmm) / "maps");
    std::string line;
    while (std::getline(lines, line)) {
        if (!line.ends_with(" " + path)) continue;
        const auto dash = line.find('-');
        pages += (std::stoull(line.substr(dash + 1), nullptr, 16) -
                  std::stoull(line.substr(0, dash), nullptr, 16)) /
                 4096;
    }
    return pages;
}

}  // namespace viaduct::test
