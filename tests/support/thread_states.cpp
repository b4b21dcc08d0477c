#include "tests/support/thread_states.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace viaduct::test {
namespace {

std::string contents_of(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

std::string first_line_of(const std::filesystem::path& path) {
    const std::string text = contents_of(path);
    return text.substr(0, text.find('\n'));
}

}  // namespace

std::string thread_states(pid_t pid) {
    const std::filesystem::path process = fmt::format("/proc/{}", pid);
    std::string report;
    std::error_code gone;
    for (const auto& entry : std::filesystem::directory_iterator(process / "task", gone)) {
        const auto& thread = entry.path();
        report += fmt::format("thread {} waits in {}, system call {}\n{}",
                              first_line_of(thread / "comm"), first_line_of(thread / "wchan"),
                              first_line_of(thread / "syscall"), contents_of(thread / "stack"));
    }
    for (const auto& entry : std::filesystem::directory_iterator(process / "fd", gone)) {
        const auto link = std::filesystem::read_symlink(entry, gone).string();
        if (link.find("io_uring") == std::string::npos) continue;
        const auto name = entry.path().filename();
        report +=
            fmt::format("io_uring {}\n{}", name.string(), contents_of(process / "fdinfo" / name));
    }
    return report + "disks\n" + contents_of("/proc/diskstats");
}

}  // namespace viaduct::test
