#include "vdpa/management/generic_netlink.hpp"

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <array>
#include <cstring>
#include <utility>

#include <libmnl/libmnl.h>

namespace viaduct::management {
namespace {

/// A request in its buffer, in libmnl's hands until it is sent.
class RequestMessage {
public:
    RequestMessage(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence)
        : header_(mnl_nlmsg_put_header(buffer_.data())) {
        header_->nlmsg_type = type;
        header_->nlmsg_flags = flags;
        header_->nlmsg_seq = sequence;
    }

    void put_command(std::uint8_t command, std::uint8_t version) {
        const genlmsghdr header{.cmd = command, .version = version, .reserved = 0};
        std::memcpy(mnl_nlmsg_put_extra_header(header_, sizeof header), &header, sizeof header);
    }

    void put_attributes(const NetlinkAttributes& attributes) {
        for (const auto& [type, value] : attributes.values()) {
            if (!mnl_attr_put_check(header_, buffer_.size(), type, value.size(), value.data())) {
                throw Error("a request to the kernel is longer than {} bytes", buffer_.size());
            }
        }
    }

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::span(buffer_).first(header_->nlmsg_len);
    }

private:
    alignas(nlmsghdr) std::array<std::byte, 4096> buffer_{};
    nlmsghdr* header_;
};

struct ReceivedMessage {
    nlmsghdr header;
    std::span<const std::byte> payload;
};

/// Takes the first message off `datagram`.
ReceivedMessage take_message(std::span<const std::byte>& datagram) {
    ReceivedMessage message{};
    if (datagram.size() >= sizeof message.header) {
        std::memcpy(&message.header, datagram.data(), sizeof message.header);
    }
    const std::size_t length = message.header.nlmsg_len;
    if (length < sizeof message.header || length > datagram.size()) {
        throw Error("the kernel's answer ends within a message ({} bytes of {})", datagram.size(),
                    length);
    }
    message.payload = datagram.first(length).subspan(sizeof message.header);
    datagram = datagram.subspan(std::min<std::size_t>(NLMSG_ALIGN(length), datagram.size()));
    return message;
}

/// A negative errno begins an NLMSG_ERROR and an NLMSG_DONE; 0 is an acknowledgement.
int error_in(std::span<const std::byte> payload) {
    int error = 0;
    if (payload.size() < sizeof error) throw Error("the kernel's answer is cut short");
    std::memcpy(&error, payload.data(), sizeof error);
    return -error;
}

/// What the kernel says beside the errno (NLMSGERR_ATTR_MSG), without the name of the module that
/// begins it.
std::string text_of_refusal(const ReceivedMessage& message) {
    if ((message.header.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
    std::size_t offset = sizeof(int);
    if (message.header.nlmsg_type == NLMSG_ERROR) {
        nlmsgerr error{};
        if (message.payload.size() < sizeof error) return {};
        std::memcpy(&error, message.payload.data(), sizeof error);
        offset = sizeof error;
        if ((message.header.nlmsg_flags & NLM_F_CAPPED) == 0) {
            offset += error.msg.nlmsg_len - sizeof error.msg;
        }
    }
    if (offset > message.payload.size()) return {};
    const NetlinkAttributes attributes(message.payload.subspan(offset));
    std::string text = attributes.string(NLMSGERR_ATTR_MSG);
    if (const auto colon = text.find(": "); colon != std::string::npos) text.erase(0, colon + 2);
    return text;
}

void throw_on_error(const std::string& what, const ReceivedMessage& message) {
    const int error = error_in(message.payload);
    if (error != 0) throw NetlinkRefusal(what, error, text_of_refusal(message));
}

}  // namespace

NetlinkRefusal::NetlinkRefusal(const std::string& request, int error, std::string kernel_text)
    : SystemError(kernel_text.empty() ? request : fmt::format("{}: {}", request, kernel_text),
                  error),
      kernel_text_(std::move(kernel_text)) {}

GenericNetlink::GenericNetlink(std::unique_ptr<NetlinkSocket> socket, const std::string& family)
    : socket_(std::move(socket)) {
    NetlinkAttributes name;
    name.put_string(CTRL_ATTR_FAMILY_NAME, family);
    const auto replies =
        ask("the kernel's generic netlink family '" + family + "'",
            {.family = GENL_ID_CTRL, .version = 1}, CTRL_CMD_GETFAMILY, name, Kind::one);
    const auto id = replies.empty() ? std::nullopt : replies[0].number(CTRL_ATTR_FAMILY_ID);
    if (!id) throw Error("the kernel does not tell the number of its netlink family '{}'", family);
    const auto version = replies[0].number(CTRL_ATTR_VERSION).value_or(1);
    target_ = {.family = static_cast<std::uint16_t>(*id),
               .version = static_cast<std::uint8_t>(version)};
}

std::vector<NetlinkAttributes> GenericNetlink::ask(const std::string& what, std::uint8_t command,
                                                   const NetlinkAttributes& attributes, Kind kind) {
    return ask(what, target_, command, attributes, kind);
}

std::vector<NetlinkAttributes> GenericNetlink::ask(const std::string& what, Target target,
                                                   std::uint8_t command,
                                                   const NetlinkAttributes& attributes, Kind kind) {
    const auto flags =
        static_cast<std::uint16_t>(NLM_F_REQUEST | (kind == Kind::all ? NLM_F_DUMP : NLM_F_ACK));
    RequestMessage request(target.family, flags, ++sequence_);
    request.put_command(command, target.version);
    request.put_attributes(attributes);
    socket_->send(request.bytes());

    std::vector<NetlinkAttributes> replies;
    while (true) {
        const auto datagram = socket_->receive();
        std::span<const std::byte> rest = datagram;
        while (!rest.empty()) {
            const ReceivedMessage message = take_message(rest);
            if (message.header.nlmsg_seq != sequence_) continue;
            switch (message.header.nlmsg_type) {
                case NLMSG_ERROR:  // of 0 is the acknowledgement, which comes last
                case NLMSG_DONE:
                    throw_on_error(what, message);
                    return replies;
                case NLMSG_NOOP:
                    break;
                default:
                    if (message.payload.size() < GENL_HDRLEN) {
                        throw Error("the kernel's answer is cut short");
                    }
                    replies.emplace_back(message.payload.subspan(GENL_HDRLEN));
            }
        }
    }
}

}  // namespace viaduct::management
