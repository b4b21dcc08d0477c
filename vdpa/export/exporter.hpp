/// One export from beginning to end: the image, the VDUSE device, its place on the vDPA bus; or a
/// device that a killed daemon left, taken up where it stands. The kernel's messages are served by
/// a thread of their own, as long as this lives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/event_loop.hpp"
#include "base/log_allowance.hpp"
#include "vdpa/export/device_server.hpp"
#include "vdpa/export/options.hpp"
#include "vdpa/export/state_file.hpp"
#include "vdpa/export/vduse_control.hpp"
#include "vdpa/export/vduse_node.hpp"
#include "vdpa/management/device_users.hpp"
#include "vdpa/management/vdpa_bus.hpp"
#include "vdpa/soft/soft_device.hpp"

namespace viaduct::vduse {

/// An option that is wrong whatever the host's state is: trying again does not help.
class WrongOption : public Error {
    using Error::Error;
};

class Exporter {
public:
    /// Everything up to a device that can be used. Throws Error that says what to do; what was made
    /// until then is gone again, unless a daemon before had made it.
    explicit Exporter(ExportOptions options);
    Exporter(const Exporter&) = delete;
    Exporter& operator=(const Exporter&) = delete;
    /// Without remove() before: the device stays, and waits for the next daemon.
    ~Exporter();

    /// "/dev/vhost-vdpa-0", "/dev/vda"; the device's name when no driver has it.
    [[nodiscard]] const std::string& node() const noexcept { return node_name_; }
    /// Whether a daemon before this one had begun it.
    [[nodiscard]] bool is_taken_over() const noexcept { return taken_over_; }

    /// Who uses the device; empty when nobody does.
    [[nodiscard]] std::vector<management::DeviceUser> users() const;
    /// The image has grown: its new size in bytes.
    std::uint64_t grow();
    /// Takes the device away. Nobody uses it. What fails half-way may be tried again; there is
    /// nothing else to do with the device then.
    void remove();

private:
    void begin();
    void open_disk();
    void make_device();
    /// The kernel takes a device whose daemon does not answer in time for broken, and some of its
    /// messages wait for requests, which wait for a server.
    void allow_for_the_network() const;
    void serve_messages();
    void attach();
    void undo() noexcept;
    [[nodiscard]] std::uint64_t bounce_bytes() const;

    ExportOptions options_;
    management::VdpaBus bus_;
    Control control_;
    StateFile state_;
    LogAllowance log_;
    std::unique_ptr<soft::SoftDevice> disk_;
    std::unique_ptr<Node> node_;
    std::unique_ptr<DeviceServer> server_;
    std::string node_name_;
    bool taken_over_ = false;
    bool owned_ = false;                   // the VDUSE device is ours to destroy
    std::unique_ptr<EventLoop> messages_;  // last: uses all of the above
};

/// Takes away the device of a daemon that was killed. Throws Error when there is none, or a daemon
/// lives, or somebody uses the device.
void remove_left_behind(const std::string& name);

}  // namespace viaduct::vduse
