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

private:
    LabDevice(std::string name, const std::vector<std::string>& command);

    std::string name_;
    std::string path_;
    pid_t daemon_ = 0;
};

/// Sets vhost-vdpa's limit (2048) on the pieces that a device with an IOMMU may find guest memory
/// in. Before the first device is made.
void limit_iotlb_entries(unsigned limit);

}  // namespace viaduct::test
