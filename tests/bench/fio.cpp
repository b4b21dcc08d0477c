#include "tests/bench/fio.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/core.h>

#include "base/error.hpp"

namespace viaduct::bench {

std::string Workload::title() const {
    return fmt::format("{}, depth {}", name, depth);
}

std::string fio_command(const std::string& disk, const Workload& workload, const char* engine) {
    return fmt::format(
        "fio --name=bench --filename={} --direct=1 --ioengine={} --rw={} --bs={}k "
        "--iodepth={} --time_based --runtime=1 --output-format=terse --terse-version=3",
        disk, engine, workload.pattern, workload.kibibytes, workload.depth);
}

Rate parse_fio(const std::string& output, const Workload& workload) {
    // fio's manual, "Terse output": the sixth field begins the reads', the 47th the writes': KiB,
    // KiB/s, IOPS.
    std::vector<std::string> fields;
    const auto line = output.substr(std::min(output.find("3;fio-"), output.size()));
    for (std::size_t at = 0; at <= line.size();) {
        const auto end = std::min(line.find(';', at), line.size());
        fields.push_back(line.substr(at, end - at));
        at = end + 1;
    }
    const std::size_t first = std::string_view(workload.pattern) == "randwrite" ? 46 : 5;
    if (fields.size() < first + 3) throw Error("fio says no rate: {}", output);
    return {std::stod(fields[first]) / workload.kibibytes, std::stod(fields[first + 2])};
}

}  // namespace viaduct::bench
