/// Serves a VDUSE device: answers the kernel's messages by operating the embedded software device,
/// whose engines work on the driver's own rings and memory. All calls come from one thread.
///
/// A message is always answered: the kernel takes a device whose daemon keeps silent for broken,
/// for good. What cannot be done is answered with a failure, which the driver sees as a status that
/// did not change, and told in one line of the log.
#pragma once

#include <linux/vduse.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/event_fd.hpp"
#include "base/log_allowance.hpp"
#include "vdpa/export/driver_memory.hpp"
#include "vdpa/export/vduse_node.hpp"
#include "vdpa/soft/soft_device.hpp"

namespace viaduct::vduse {

struct DeviceServerSetup {
    std::string name;
    // The caller's, and outlive the server.
    Node& node;
    soft::SoftDevice& disk;
    LogAllowance& log;
    /// The status that the driver finds the device in if this process dies from here on.
    std::function<void(std::uint8_t)> on_status;
    /// The size of the kernel's bounce area, in bytes; 0 when there is none.
    std::function<std::uint64_t()> bounce_bytes;
};

class DeviceServer {
public:
    explicit DeviceServer(DeviceServerSetup setup);
    DeviceServer(const DeviceServer&) = delete;
    DeviceServer& operator=(const DeviceServer&) = delete;
    /// What is in flight is cancelled, and stays in the log for the next one.
    ~DeviceServer() { setup_.disk.halt(); }

    /// A killed daemon left the device with this status: goes on where that one was. Throws Error
    /// when that cannot be, with the device and the log of what is in flight as they were.
    void take_over(std::uint8_t status);
    /// Answers the messages that wait. Throws Error when there will be none any more.
    void serve();
    /// The image has grown: tells the driver. The capacity, in sectors.
    std::uint64_t grow();

private:
    [[nodiscard]] bool answer(const vduse_dev_request& request, vduse_dev_response& response);
    void set_status(std::uint8_t status);
    void start(bool takes_over);
    void start_queue(unsigned queue);
    void stop();
    void update_memory();

    DeviceServerSetup setup_;
    std::vector<EventFd> kicks_;
    std::optional<DriverMemory> memory_;  // while the device runs
};

}  // namespace viaduct::vduse
