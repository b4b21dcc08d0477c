/// A serial port and the backend behind it, without a machine.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/support/temporary_directory.hpp"
#include "vmm/console/backend.hpp"

namespace viaduct::console {

class NoLine final : public devices::InterruptLine {
public:
    void set(bool /*asserted*/) noexcept override {}
};

/// A backend with a port before it, and a directory for its files.
struct Console {
    Console() = default;
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;
    ~Console() {
        port.reset();
        backend.reset();
    }

    [[nodiscard]] std::string path(const std::string& name) const { return directory.path(name); }
    void open(const std::string& spec) {
        backend = open_serial(spec, io);
        port.emplace(line, *backend);
        backend->attach(*port);
        out(2, 0x01);
    }
    void close() {
        backend->detach();
        backend.reset();
        port.reset();
    }
    void out(std::uint64_t offset, unsigned value) {
        const std::byte byte{static_cast<std::uint8_t>(value)};
        port->write(offset, {&byte, 1});
    }
    std::uint8_t in(std::uint64_t offset) {
        std::byte byte{};
        port->read(offset, {&byte, 1});
        return std::to_integer<std::uint8_t>(byte);
    }
    void print(std::string_view text) {
        for (const char c : text) out(0, static_cast<unsigned char>(c));
    }
    /// What a guest reads, the io_context running, until it is as long as wanted.
    std::string guest_reads(std::size_t count) {
        std::string text;
        run_until([&] {
            while ((in(5) & 0x01) != 0) text.push_back(static_cast<char>(in(0)));
            return text.size() >= count;
        });
        return text;
    }
    template <typename F>
    bool run_until(F&& done, std::chrono::seconds longest = std::chrono::seconds(20)) {
        const auto end = std::chrono::steady_clock::now() + longest;
        while (!done()) {
            if (std::chrono::steady_clock::now() > end) return false;
            io.restart();
            io.run_one_for(std::chrono::milliseconds(2));
        }
        return true;
    }
    /// What a client reads from its descriptor until it is as long as wanted.
    std::string client_reads(int fd, std::size_t count) {
        std::string text;
        run_until([&] {
            std::array<char, 4096> bytes{};
            pollfd asked{fd, POLLIN, 0};
            while (text.size() < count && ::poll(&asked, 1, 0) > 0) {
                const ssize_t size = ::read(fd, bytes.data(), bytes.size());
                if (size <= 0) return true;
                text.append(bytes.data(), static_cast<std::size_t>(size));
            }
            return text.size() >= count;
        });
        return text;
    }

    boost::asio::io_context io;
    test::TemporaryDirectory directory;
    NoLine line;
    std::unique_ptr<SerialBackend> backend;
    std::optional<devices::Serial> port;
};

inline std::string contents(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

inline void write_all(int fd, std::string_view text) {
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

}  // namespace viaduct::console
