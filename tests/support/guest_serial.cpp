#include "tests/support/guest_serial.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "base/error.hpp"

namespace viaduct::test {
namespace {

using Clock = std::chrono::steady_clock;

Fd connect_to(const std::string& path, const Process& machine) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    while (Clock::now() < deadline && machine.running()) {
        Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        // The sockets API takes every family's address by its common header.
        if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0) {
            return socket;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw Error("the machine does not listen on {}: {}", path, machine.err());
}

}  // namespace

GuestSerial::GuestSerial(const std::string& path, const Process& machine)
    : machine_(machine), socket_(connect_to(path, machine)) {}

void GuestSerial::send_line(std::string_view line) const {
    const std::string bytes = std::string(line) + "\n";
    if (::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(bytes.size())) {
        throw SystemError("sending to the guest's serial port");
    }
}

std::string GuestSerial::read_until(std::string_view text, Seconds limit) {
    const auto deadline = Clock::now() + limit;
    std::size_t found = 0;
    while ((found = received_.find(text)) == std::string::npos) {
        if (Clock::now() >= deadline || (!read_some() && !machine_.running())) {
            throw Error("the guest did not print '{}'; it printed:\n{}\nand the machine:\n{}", text,
                        received_, machine_.err());
        }
    }
    std::string before = received_.substr(0, found);
    received_.erase(0, found + text.size());
    return before;
}

std::string GuestSerial::rest() {
    while (read_some()) {
    }
    return std::move(received_);
}

bool GuestSerial::read_some() {
    pollfd waited{socket_.get(), POLLIN, 0};
    if (::poll(&waited, 1, 100) == 0) return true;
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(socket_.get(), bytes.data(), bytes.size());
    for (const char byte :
         std::string_view(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)))) {
        if (byte != '\r') received_ += byte;
    }
    return count > 0;
}

}  // namespace viaduct::test
