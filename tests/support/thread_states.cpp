#include "tests/support/thread_states.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace viaduct::test {
namespace {

std::string text_in(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

std::string first_line(const std::filesystem::path& path) {
    const std::string text = text_in(path);
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
                              first_line(thread / "comm"), first_line(thread / "wchan"),
                              first_line(thread / "syscall"), text_in(thread / "stack"));
    }
    for (const auto& entry : std::filesystem::directory_iterator(process / "fd", gone)) {
        const auto link = std::filesystem::read_symlink(entry, gone).string();
        if (link.find("io_uring") == std::string::npos) continue;
        const auto name = entry.path().filename();
        report += fmt::format("io_uring {}\n{}", name.string(), text_in(process / "fdinfo" / name));
    }
    return report + "disks\n" + text_in("/proc/diskstats");
}

}  // namespace viaduct::test
