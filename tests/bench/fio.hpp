/// fio as the benchmarks use it: one job on one disk, and what it says of its rate.
#pragma once

#include <string>
#include <vector>

namespace viaduct::bench {

struct Workload {
    const char* name;
    const char* pattern;  // fio's --rw
    unsigned kibibytes;   // of a request
    unsigned depth;

    [[nodiscard]] std::string title() const;
};

/// Requests, and how many of them in a second.
struct Rate {
    double requests = 0;
    double per_second = 0;
};

/// For a shell: a second's work, direct, by one of fio's engines.
[[nodiscard]] std::string fio_command(const std::string& disk, const Workload& workload,
                                      const char* engine = "libaio");
/// What that printed; throws Error when it says no rate.
[[nodiscard]] Rate parse_fio(const std::string& output, const Workload& workload);

}  // namespace viaduct::bench
