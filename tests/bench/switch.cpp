// What a switch of the data path costs a guest that works meanwhile: how long no request was
// carried, and the longest time without a completion that the guest itself saw, beside that of a
// stop and cont and that of no deed at all, in turn.
#include <algorithm>
#include <array>
#include <chrono>

#include <boost/json/value.hpp>
#include <fmt/core.h>

#include "base/error.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/gap_guest.hpp"
#include "tests/lab/lab_device.hpp"

namespace viaduct::bench {
namespace {

using std::chrono::milliseconds;
using test::LabDevice;

/// For a device whose daemon is busy on a slow machine.
constexpr auto patience = std::chrono::seconds(60);
/// Before and after a deed: the guest is at work by then.
constexpr milliseconds native_pause{5};
constexpr milliseconds lab_pause{50};

/// All in microseconds.
struct Direction {
    std::string mode;
    std::string label;
    std::vector<double> blackout = {};
    std::vector<double> drain = {};
    std::vector<double> gap = {};
    std::vector<double> gap_without_drain = {};
};

class Measurement {
public:
    /// `device`: a value of --device; `load`: keys of the scenario deep-io.
    Measurement(std::string name, const std::string& device, const std::string& load,
                milliseconds pause)
        : name_(std::move(name)), guest_(device, load), pause_(pause) {}

    void run(unsigned rounds) {
        for (unsigned round = 0; round < rounds; ++round) {
            for (Direction& direction : directions_) {
                switch_once(direction);
                left_in_peace_.push_back(guest_.longest_gap([] {}, pause_));
                stop_and_cont_.push_back(guest_.longest_gap(
                    [this] {
                        execute("stop");
                        execute("cont");
                    },
                    pause_));
            }
        }
    }

    void add_series_to(Report& report) const {
        const auto add = [&](const std::string& what, const std::string& label,
                             const std::vector<double>& samples) {
            report.series.push_back({name_ + ": " + what, label, "us", samples});
        };
        for (const Direction& one : directions_) add("blackout", one.label, one.blackout);
        for (const Direction& one : directions_) add("of that the drain", one.label, one.drain);
        const std::string gap = "longest gap in the guest";
        for (const Direction& one : directions_) add(gap, one.label, one.gap);
        for (const Direction& one : directions_) {
            add(gap, one.label + ", no drain", one.gap_without_drain);
        }
        add(gap, "stop and cont", stop_and_cont_);
        add(gap, "left in peace", left_in_peace_);
    }

    void add_bars_to(Report& report) const {
        const Series reference{{}, {}, {}, stop_and_cont_};
        for (const Direction& one : directions_) {
            const Series gap{{}, {}, {}, one.gap_without_drain};
            report.bars.push_back(
                {name_ + ", " + one.label + ": gap less drain over that of stop and cont, medians",
                 gap.median() / reference.median(), Bar::Bound::at_most, 3, "x"});
        }
    }

private:
    boost::json::value execute(std::string_view command, boost::json::object arguments = {}) {
        return guest_.qmp().execute(command, std::move(arguments), patience);
    }

    void switch_once(Direction& direction) {
        boost::json::value report;
        const double gap = guest_.longest_gap(
            [&] {
                report = execute("vdpa-set-datapath", {{"id", "disk"}, {"mode", direction.mode}});
            },
            pause_);
        if (report.at("from") == report.at("to")) {
            throw Error("{}: it was on the {} path already", name_, direction.mode);
        }
        const auto drain = report.at("drain-us").to_number<double>();
        direction.blackout.push_back(report.at("blackout-us").to_number<double>());
        direction.drain.push_back(drain);
        direction.gap.push_back(gap);
        direction.gap_without_drain.push_back(std::max(gap - drain, 0.0));
    }

    std::string name_;
    GapGuest guest_;
    milliseconds pause_;
    std::array<Direction, 2> directions_{Direction{"slow", "fast to slow"},
                                         Direction{"fast", "slow to fast"}};
    std::vector<double> stop_and_cont_;
    std::vector<double> left_in_peace_;
};

Report empty_report(const std::string& name, const std::string& where) {
    return {name,
            "What a switch of the data path costs, " + where,
            {"One vCPU, one queue; so many requests of 512 bytes in flight, reads from memory.",
             "Blackout and drain are the VMM's account, the gaps are the guest's: the longest time",
             "between two completions while that was done. The deeds alternate."},
            {},
            {}};
}

constexpr std::array depths{1, 32};
/// A disk would have its own say in the guest's gaps.
constexpr const char* in_memory = "/dev/shm";

std::string load(int depth, bool all_features) {
    return fmt::format("depth={}{}", depth, all_features ? " event-idx=on indirect=on" : "");
}

}  // namespace

Report switch_natively(unsigned runs) {
    Report report = empty_report("switch", "embedded device");
    const test::TemporaryDirectory directory(in_memory);
    const std::string image = directory.path("disk.raw");
    test::make_pattern_image(image, 16U << 20);
    for (const bool suspends : {true, false}) {
        for (const int depth : depths) {
            Measurement measurement(
                fmt::format("{} SUSPEND, depth {}", suspends ? "with" : "without", depth),
                fmt::format("vdpa,id=disk,image={},suspend={}", image, suspends ? "on" : "off"),
                load(depth, true), native_pause);
            measurement.run(runs);
            measurement.add_series_to(report);
            measurement.add_bars_to(report);
        }
    }
    return report;
}

Report switch_in_lab(unsigned runs) {
    Report report = empty_report("switch-lab", "kernel devices in the lab");
    report.notes.emplace_back(
        "Not vp_vdpa: it refuses VHOST_SET_VRING_BASE, so nobody can go on where another stopped.");
    const auto measure = [&](const std::string& name, const LabDevice& device, bool all_features) {
        for (const int depth : depths) {
            Measurement measurement(fmt::format("{}, depth {}", name, depth), device.option(),
                                    load(depth, all_features), lab_pause);
            measurement.run(runs);
            measurement.add_series_to(report);
        }
    };
    const test::TemporaryDirectory directory(in_memory);
    const std::string image = directory.path("disk.raw");
    test::make_pattern_image(image, 16U << 20);
    measure("VDUSE", LabDevice::vduse("disk", image), true);
    measure("vdpa_sim_blk", LabDevice::simulated_disk("disk"), false);
    return report;
}

}  // namespace viaduct::bench
