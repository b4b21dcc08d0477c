#include "tests/support/netlink_recording.hpp"

#include <linux/netlink.h>

#include <charconv>
#include <cstddef>
#include <cstring>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"

namespace viaduct::test {
namespace {

std::vector<std::byte> bytes_of(const std::string& hex) {
    std::vector<std::byte> bytes(hex.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        std::uint8_t byte = 0;
        std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, byte, 16);
        bytes[i] = std::byte{byte};
    }
    return bytes;
}

void clear_port_numbers(std::span<std::byte> datagram) {
    constexpr std::uint32_t none = 0;
    while (datagram.size() >= sizeof(nlmsghdr)) {
        nlmsghdr header{};
        std::memcpy(&header, datagram.data(), sizeof header);
        std::memcpy(datagram.data() + offsetof(nlmsghdr, nlmsg_pid), &none, sizeof none);
        datagram =
            datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
    }
}

class RecordingSocket final : public management::NetlinkSocket {
public:
    explicit RecordingSocket(std::string& record) : record_(record) {}

    void send(std::span<const std::byte> datagram) override {
        record_ += "> " + hex_of(datagram) + "\n";
        kernel_->send(datagram);
    }

    std::vector<std::byte> receive() override {
        auto datagram = kernel_->receive();
        clear_port_numbers(datagram);
        record_ += "< " + hex_of(datagram) + "\n";
        return datagram;
    }

private:
    std::string& record_;
    std::unique_ptr<management::NetlinkSocket> kernel_ = management::open_netlink_socket();
};

class ReplayedSocket final : public management::NetlinkSocket {
public:
    explicit ReplayedSocket(const std::string& record) {
        std::istringstream lines(record);
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("> ") || line.starts_with("< ")) lines_.push_back(line);
        }
    }

    void send(std::span<const std::byte> datagram) override {
        const std::string line = "> " + hex_of(datagram);
        if (next() != line) throw Error("asked was\n{}\nrecorded is\n{}", line, next());
        ++at_;
    }

    std::vector<std::byte> receive() override {
        if (!next().starts_with("< ")) throw Error("no more answers are recorded");
        return bytes_of(lines_[at_++].substr(2));
    }

private:
    [[nodiscard]] std::string next() const { return at_ < lines_.size() ? lines_[at_] : "nothing"; }

    std::vector<std::string> lines_;
    std::size_t at_ = 0;
};

}  // namespace

std::string hex_of(std::span<const std::byte> bytes) {
    std::string text;
    for (const std::byte byte : bytes) {
        text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    }
    return text;
}

std::unique_ptr<management::NetlinkSocket> recording_netlink_socket(std::string& record) {
    return std::make_unique<RecordingSocket>(record);
}

std::unique_ptr<management::NetlinkSocket> replayed_netlink_socket(const std::string& record) {
    return std::make_unique<ReplayedSocket>(record);
}

}  // namespace viaduct::test
