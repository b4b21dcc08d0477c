/// viaduct_bench NAME --output DIRECTORY [--runs N]: see README.md. Exit status 1: a bar was
/// missed; 2: nothing could be measured.
#include <cstdint>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "tests/bench/benchmarks.hpp"

namespace {

using viaduct::bench::Report;
namespace bench = viaduct::bench;

struct Benchmark {
    const char* name;
    std::uint64_t usual_runs;
    std::uint64_t fewest_runs;
    const char* runs_of;
    Report (*measure)(std::uint64_t runs);
};

/// Of a benchmark that counts its runs in a smaller type; the option's range is far below its end.
template <Report measure(unsigned)>
Report with(std::uint64_t runs) {
    return measure(static_cast<unsigned>(runs));
}

constexpr Benchmark benchmarks[] = {
    {"start", 25, 1, "of each VMM", with<bench::start>},
    {"fast", 12'000, 11'000, "the guest's reads from each device", bench::fast},
    {"relay", 25, 1, "of each kind", with<bench::relay>},
    {"relay-latency", 25, 1, "of each kind", with<bench::relay_latency>},
    {"engine", 5, 1, "of each workload", with<bench::engine>},
    {"switch", 100, 1, "switches to and fro, of each kind", with<bench::switch_natively>},
    {"switch-lab", 40, 1, "switches to and fro, of each device", with<bench::switch_in_lab>},
    {"export", 3, 1, "of fio, at each workload, on each disk", with<bench::exported>},
    {"io", 3, 1, "of fio, at each workload, each way", with<bench::io>},
};

struct Choice {
    const Benchmark* benchmark = nullptr;
    std::uint64_t runs = 0;
    std::string output;
};

void add(CLI::App& app, const Benchmark& benchmark, Choice& choice) {
    CLI::App& command = *app.add_subcommand(benchmark.name);
    command.add_option("--output", choice.output, "where NAME.json and NAME.svg go")->required();
    auto& runs = *command.add_option("--runs", choice.runs, benchmark.runs_of)
                      ->check(CLI::Range(benchmark.fewest_runs, std::uint64_t{100'000'000}));
    command.callback([&] {
        choice.benchmark = &benchmark;
        if (runs.empty()) choice.runs = benchmark.usual_runs;
    });
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Measures viaduct.");
    app.require_subcommand(1);
    Choice choice;
    for (const Benchmark& benchmark : benchmarks) add(app, benchmark, choice);
    CLI11_PARSE(app, argc, argv);
    try {
        const Report report = choice.benchmark->measure(choice.runs);
        report.print();
        report.write(choice.output);
        return report.all_kept() ? 0 : 1;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "viaduct_bench: {}\n", failure.what());
        return 2;
    }
}
