/// viaduct_bench start|fast|relay --output DIRECTORY [--runs N] [--guest-reads N]: see README.md.
/// Exit status 1: a bar was missed; 2: nothing could be measured.
#include <cstdint>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "tests/bench/benchmarks.hpp"

int main(int argc, char** argv) {
    CLI::App app("Measures viaduct.");
    std::string name;
    std::string output;
    unsigned runs = 25;
    std::uint64_t guest_reads = 12'000;
    app.add_option("name", name)->required()->check(CLI::IsMember({"start", "fast", "relay"}));
    app.add_option("--output", output, "where NAME.json and NAME.svg go")->required();
    app.add_option("--runs", runs, "of each VMM (start), of each kind (relay)")
        ->check(CLI::Range(1, 10'000));
    app.add_option("--guest-reads", guest_reads, "from each device (fast)")
        ->check(CLI::Range(11'000, 100'000'000));
    CLI11_PARSE(app, argc, argv);
    try {
        const auto report = name == "start"   ? viaduct::bench::start(runs)
                            : name == "relay" ? viaduct::bench::relay(runs)
                                              : viaduct::bench::fast(guest_reads);
        report.print();
        report.write(output);
        return report.all_kept() ? 0 : 1;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "viaduct_bench: {}\n", failure.what());
        return 2;
    }
}
