#include "tests/bench/vcpu_returns.hpp"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.hpp"

namespace viaduct::bench {
namespace {

namespace fs = std::filesystem;

constexpr auto tracepoint_id = "/sys/kernel/tracing/events/raw_syscalls/sys_exit/id";

/// Of the process's threads those whose name is `chosen`.
template <typename Chosen>
std::vector<fs::path> threads(pid_t process, Chosen chosen) {
    std::vector<fs::path> found;
    for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", process))) {
        std::string name;
        std::ifstream(thread.path() / "comm") >> name;
        if (chosen(name)) found.push_back(thread.path());
    }
    return found;
}

bool is_vcpu(const std::string& name) {
    return name.starts_with("vcpu-");
}

std::uint64_t cpu_time(const std::vector<fs::path>& threads) {
    if (!fs::exists("/proc/self/schedstat")) {
        throw Error("/proc has no schedstat: the kernel lacks CONFIG_SCHED_INFO");
    }
    std::uint64_t sum = 0;
    for (const fs::path& thread : threads) {
        std::uint64_t nanoseconds = 0;  // the first field: time on a CPU
        // A thread that ends this very moment has nothing to say.
        if (std::ifstream(thread / "schedstat") >> nanoseconds) sum += nanoseconds;
    }
    return sum;
}

std::uint64_t read_tracepoint_id() {
    std::uint64_t id = 0;
    if (!(std::ifstream(tracepoint_id) >> id)) {
        throw Error(
            "{} cannot be read: needs root, and `mount -t tracefs none /sys/kernel/tracing`",
            tracepoint_id);
    }
    return id;
}

}  // namespace

VcpuReturns::VcpuReturns(pid_t vmm) {
    perf_event_attr attributes{};
    attributes.size = sizeof attributes;
    attributes.type = PERF_TYPE_TRACEPOINT;
    attributes.config = read_tracepoint_id();
    for (const fs::path& thread : threads(vmm, is_vcpu)) {
        const int id = std::stoi(thread.filename());
        Fd counter(static_cast<int>(
            ::syscall(SYS_perf_event_open, &attributes, id, -1, -1, PERF_FLAG_FD_CLOEXEC)));
        if (!counter) throw SystemError("perf_event_open for a vCPU's thread");
        counters_.push_back(std::move(counter));
    }
    if (counters_.empty()) throw Error("process {} has no thread named vcpu-N", vmm);
}

std::uint64_t VcpuReturns::count() const {
    std::uint64_t sum = 0;
    for (const Fd& counter : counters_) {
        std::uint64_t value = 0;
        if (::read(counter.get(), &value, sizeof value) != sizeof value) {
            throw SystemError("reading a perf counter");
        }
        sum += value;
    }
    return sum;
}

std::uint64_t cpu_time_beside_vcpus(pid_t vmm) {
    return cpu_time(threads(vmm, [](const std::string& name) { return !is_vcpu(name); }));
}

std::uint64_t cpu_time_of_threads(pid_t process, const std::string& name) {
    return cpu_time(threads(process, [&](const std::string& other) { return other == name; }));
}

}  // namespace viaduct::bench
