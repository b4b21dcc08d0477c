#include "tests/lab/linux_guest.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/support/repeated.hpp"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;

const std::string images = VIADUCT_SOURCE_DIR "/build/guest-images/linux/";

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw Error("cannot read {}: guest-images/linux/build makes the guest's images", path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

/// One file of a "newc" archive (Linux,
/// Documentation/driver-api/early-userspace/buffer-format.rst).
std::string archive_entry(const std::string& name, unsigned mode, const std::string& content) {
    // inode, mode, uid, gid, links, mtime, size, 4 device numbers, name's size with its zero,
    // checksum
    std::string entry = fmt::format(
        "070701{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}", 0,
        mode, 0, 0, 1, 0, content.size(), 0, 0, 0, 0, name.size() + 1, 0);
    const auto pad = [&entry] { entry.resize((entry.size() + 3) / 4 * 4); };
    entry += name + '\0';
    pad();
    entry += content;
    pad();
    return entry;
}

/// The common initial file system with the shell as its /script.
std::string make_initrd(const std::string& path) {
    std::ofstream(path, std::ios::binary)
        << read_file(images + "initramfs.cpio")
        << archive_entry("script", S_IFREG | 0755,
                         read_file(VIADUCT_SOURCE_DIR "/tests/lab/serial-shell"))
        << archive_entry("TRAILER!!!", 0, "");
    return path;
}

std::vector<std::string> command_of(const LinuxGuestOptions& options,
                                    const TemporaryDirectory& directory) {
    // Devices that pin guest memory want it allowed.
    std::vector<std::string> command{
        "prlimit",         "--memlock=unlimited",
        viaduct_program(), "run",
        "--kernel",        images + options.kernel,
        "--initrd",        make_initrd(directory.path("initrd")),
        "--append",        "console=ttyS0 quiet panic=-1 " + options.append,
        "--memory",        options.memory,
        "--cpus",          std::to_string(options.cpus),
        "--serial",        "unix:" + directory.path("serial"),
        "--qmp",           "unix:" + directory.path("qmp"),
        "--debug-exit"};
    for (const std::string& device : options.devices) {
        command.emplace_back("--device");
        command.push_back(device);
    }
    return command;
}

Fd connect_to(const std::string& path, const Process& process) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    while (Clock::now() < deadline && process.running()) {
        Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        // The sockets API takes every family's address by its common header.
        if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0) {
            return socket;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw Error("viaduct does not listen on {}: {}", path, process.err());
}

}  // namespace

LinuxGuest::LinuxGuest(const LinuxGuestOptions& options)
    : process_(command_of(options, directory_), Seconds(3600)),
      serial_(connect_to(directory_.path("serial"), process_)),
      qmp_(directory_.path("qmp"), std::chrono::seconds(60)) {
    qmp_.negotiate();
    wait_until_ready();
}

std::unique_ptr<tests::QmpClient> LinuxGuest::client() const {
    auto client =
        std::make_unique<tests::QmpClient>(directory_.path("qmp"), std::chrono::seconds(60));
    client->negotiate();
    return client;
}

void LinuxGuest::wait_until_ready(Seconds limit) {
    read_until("guest: ready\n", limit);
}

Answer LinuxGuest::sh(std::string_view command, Seconds limit) {
    begin(command);
    return finish(limit);
}

std::string LinuxGuest::expect(const std::string& command) {
    const Answer answer = sh(command, patience * repeated(1));
    EXPECT_EQ(answer.status, 0) << command << '\n' << answer.out;
    return answer.out;
}

void LinuxGuest::begin(std::string_view command) {
    const std::string line = std::string(command) + "\n";
    if (::send(serial_.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(line.size())) {
        throw SystemError("sending to the guest's serial port");
    }
}

Answer LinuxGuest::finish(Seconds limit) {
    Answer answer;
    answer.out = read_until("\nguest: status ", limit);
    answer.status = std::stoi(read_until("\n", limit));
    while (answer.out.ends_with('\n')) answer.out.pop_back();
    return answer;
}

std::string LinuxGuest::read_until(std::string_view text, Seconds limit) {
    const auto deadline = Clock::now() + limit;
    std::size_t found = 0;
    while ((found = received_.find(text)) == std::string::npos) {
        pollfd waited{serial_.get(), POLLIN, 0};
        std::array<char, 4096> bytes{};
        const bool timely = Clock::now() < deadline;
        const ssize_t count = timely && ::poll(&waited, 1, 100) > 0
                                  ? ::read(serial_.get(), bytes.data(), bytes.size())
                                  : 0;
        if (!timely || (count == 0 && !process_.running())) {
            throw Error("the guest did not print '{}'; it printed:\n{}\nand viaduct:\n{}", text,
                        received_, process_.err());
        }
        for (const char byte : std::string_view(
                 bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)))) {
            if (byte != '\r') received_ += byte;
        }
    }
    std::string before = received_.substr(0, found);
    received_.erase(0, found + text.size());
    return before;
}

Outcome LinuxGuest::wait() {
    Outcome outcome = process_.wait();
    outcome.out = received_;
    std::array<char, 4096> bytes{};
    ssize_t count = 0;
    while ((count = ::read(serial_.get(), bytes.data(), bytes.size())) > 0) {
        outcome.out.append(bytes.data(), static_cast<std::size_t>(count));
    }
    return outcome;
}

}  // namespace viaduct::test
