/// A conversation with one family of generic netlink (the kernel's networking/generic_netlink
/// documentation): a request with attributes, the replies to it, or the kernel's refusal in the
/// words that it sends along (extended acknowledgement). For the use of one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "vdpa/management/netlink_attributes.hpp"
#include "vdpa/management/netlink_socket.hpp"

namespace viaduct::management {

/// The kernel's refusal. what() is the request and why; code() the errno.
class NetlinkRefusal : public SystemError {
public:
    NetlinkRefusal(const std::string& request, int error, std::string kernel_text);

    /// What the kernel says beside the errno; often empty.
    [[nodiscard]] const std::string& kernel_text() const noexcept { return kernel_text_; }

private:
    std::string kernel_text_;
};

class GenericNetlink {
public:
    enum class Kind { one, all };  // `all` is a dump: everything of a kind

    /// Asks the kernel for the family. Throws NetlinkRefusal (ENOENT: there is no such family, its
    /// module is not loaded).
    GenericNetlink(std::unique_ptr<NetlinkSocket> socket, const std::string& family);

    /// `what` names the request in errors. Returns the replies; none where the kernel only
    /// acknowledges. Throws NetlinkRefusal, and Error for an answer that makes no sense.
    std::vector<NetlinkAttributes> ask(const std::string& what, std::uint8_t command,
                                       const NetlinkAttributes& attributes, Kind kind = Kind::one);

private:
    struct Target {
        std::uint16_t family;
        std::uint8_t version;
    };

    std::vector<NetlinkAttributes> ask(const std::string& what, Target target, std::uint8_t command,
                                       const NetlinkAttributes& attributes, Kind kind);

    std::unique_ptr<NetlinkSocket> socket_;
    std::uint32_t sequence_ = 0;
    Target target_{};
};

}  // namespace viaduct::management
