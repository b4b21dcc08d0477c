/// A vDPA device of the lab, made by the commands in tests/lab/machine/bin and taken down with this
/// object: whoever has it open must be gone by then. Throws Error when it cannot be made.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace viaduct::test {

class LabDevice {
public:
    /// The file is exported by qemu-storage-daemon over VDUSE; `options` are export-vduse's.
    static LabDevice vduse(const std::string& name, const std::string& image,
                           const std::vector<std::string>& options = {});
    /// 128 MiB in the kernel's memory, one queue.
    static LabDevice simulated_disk(const std::string& name);
    /// What is sent comes back.
    static LabDevice simulated_net(const std::string& name);
    /// 64 MiB behind an IOMMU, with doorbell pages: disk0 has one queue, disk1 two.
    static LabDevice hardware(const std::string& name, const std::string& disk);

    LabDevice(LabDevice&& other) noexcept;
    LabDevice(const LabDevice&) = delete;
    LabDevice& operator=(const LabDevice&) = delete;
    LabDevice& operator=(LabDevice&&) = delete;
    ~LabDevice();

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// /dev/vhost-vdpa-N
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// For viaduct's --device.
    [[nodiscard]] std::string option(const std::string& properties = "") const;
    /// Whether the qemu-storage-daemon behind it has not ended.
    [[nodiscard]] bool daemon_lives() const;
    /// SIGSTOP, SIGCONT.
    void signal_daemon(int signal) const;
    /// SIGKILL. What it had in flight stays unanswered, and so does whoever asks the device for
    /// something, until another daemon is there or `message_timeout` has passed.
    void kill_daemon() const;
    /// Another daemon for a device whose own is gone: it takes up what that one left.
    void restart_daemon();
    /// A healthy device in the place of one that is broken for good, under the same path: whoever
    /// had it open must have closed it.
    void replace();
    /// How long the kernel waits for the daemon's answer before it takes the device for broken;
    /// VDUSE's own value is 30.
    void set_message_timeout(unsigned seconds) const;

private:
    LabDevice(std::string name, std::vector<std::string> command);

    void make();
    void take_down() const;
    void read_daemon();

    std::string name_;
    std::vector<std::string> command_;  // that made it
    std::string path_;
    pid_t daemon_ = 0;
};

/// Sets vhost-vdpa's limit (2048) on the pieces that a device with an IOMMU may find guest memory
/// in. Before the first device is made.
void limit_iotlb_entries(unsigned limit);

}  // namespace viaduct::test
