#include "tests/guest/probe_run.hpp"

#include <cstdlib>

namespace viaduct::test {

namespace {

// Images are in memory. On a disk's file system a write may wait for a worker of the kernel that is
// bound to one CPU; where the lab's machine keeps that CPU busy it was seen to wait 10 s, longer
// than a switch of the data path waits for a request.
[[maybe_unused]] const int temporary_files_in_memory = ::setenv("TMPDIR", "/dev/shm", 1);

// A shared host, or its disk, may stand still for longer than the probe's own ten seconds; a
// wake-up that is lost stays lost for ever.
constexpr const char* patience = " timeout=60";

}  // namespace

std::vector<std::string> probe_command(const ProbeRun& run) {
    std::vector<std::string> command{
        viaduct_program(), "run",      "--kernel",
        probe_image(),     "--append", "scenario=" + run.scenario + patience,
        "--memory",        "128M",     "--debug-exit"};
    command.insert(command.end(), run.options.begin(), run.options.end());
    return command;
}

void expect_probe_passes(const ProbeRun& run) {
    const Outcome outcome = test::run(probe_command(run), run.deadline);
    EXPECT_EQ(outcome.status, probe_passed) << run.scenario << '\n' << outcome.out << outcome.err;
    EXPECT_NE(outcome.out.find("PASS"), std::string::npos) << outcome.out << outcome.err;
}

std::string image_device(const TemporaryDirectory& directory, const std::string& properties,
                         std::uint64_t bytes) {
    static int count = 0;
    const std::string path = directory.path("disk" + std::to_string(count++) + ".raw");
    make_pattern_image(path, bytes);
    return "vdpa,image=" + path + (properties.empty() ? "" : "," + properties);
}

}  // namespace viaduct::test
