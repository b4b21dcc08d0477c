/// The character device /dev/vduse/NAME (linux/vduse.h) as the daemon that serves it has it: one
/// function per ioctl, and the kernel's messages. The seam at which tests put a kernel of their
/// own.
#pragma once

#include <linux/vduse.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/event_fd.hpp"
#include "base/fd.hpp"
#include "vdpa/device.hpp"

namespace viaduct::vduse {

/// A piece of the driver's memory: [first, last] is at `offset` of a file.
struct IotlbEntry {
    Fd file;
    std::uint64_t offset = 0;
    Iova first;
    Iova last;
    bool writable = false;
};

struct QueueInfo {
    std::uint16_t size = 0;
    vdpa::RingAddresses addresses;
    std::uint16_t avail_index = 0;  // where it begins
    bool ready = false;
};

class Node {
public:
    Node() = default;
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    virtual ~Node() = default;

    /// Readable when there is a message.
    [[nodiscard]] virtual int fd() const noexcept = 0;
    /// The next message; nothing when there is none. Throws Error when there will be none any more:
    /// the device is gone, or the kernel has given it up.
    virtual std::optional<vduse_dev_request> receive() = 0;
    /// Nothing happens when whoever asked has gone in the meantime.
    virtual void respond(const vduse_dev_response& response) = 0;

    /// Before the device comes on the vDPA bus.
    virtual void set_up_queue(unsigned queue, std::uint16_t max_size) = 0;
    /// What the driver accepted.
    virtual std::uint64_t features() = 0;
    virtual QueueInfo queue_info(unsigned queue) = 0;
    /// The first piece that lies in [from, to]; nothing when there is none.
    virtual std::optional<IotlbEntry> iotlb_entry(std::uint64_t from, std::uint64_t to) = 0;
    /// The driver's kicks; null takes the eventfd away.
    virtual void set_kick(unsigned queue, const EventFd* kick) = 0;
    /// From any thread.
    virtual void interrupt(unsigned queue) noexcept = 0;
    virtual void write_config(std::uint32_t offset, std::span<const std::byte> bytes) = 0;
    /// Nothing happens while no driver runs the device.
    virtual void interrupt_config() = 0;
};

/// Opens the node: one process at a time. Throws Error, that says who serves it if somebody does,
/// and what to do with a device that the kernel has given up.
std::unique_ptr<Node> open_node(const std::string& name);

}  // namespace viaduct::vduse
