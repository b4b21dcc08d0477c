/// What outlives an export's daemon, in shared memory at /run/viaduct/NAME: what the device is, how
/// far its driver has brought it, and what is in flight (soft::InFlightLog). A daemon that was
/// killed leaves it; the next one takes the device up where the file says. A lock (F_OFD_SETLK) on
/// the file tells the living from the dead.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/fd.hpp"
#include "base/mapping.hpp"
#include "vdpa/soft/in_flight_log.hpp"

namespace viaduct::vduse {

/// What a device cannot change while it is there. Plain bytes, for the file.
struct DeviceShape {
    std::array<char, 1024> image{};  // its absolute path without links, or its URI
    std::uint32_t queues = 1;
    std::uint32_t queue_size = 256;
    std::uint32_t block_size = 512;
    std::uint32_t read_only = 0;
    friend bool operator==(const DeviceShape&, const DeviceShape&) = default;
};

class StateFile {
public:
    /// Opens or makes the file. Throws Error when a living daemon has it, naming its process.
    StateFile(const std::string& folder, const std::string& name);
    StateFile(const StateFile&) = delete;
    StateFile& operator=(const StateFile&) = delete;
    ~StateFile() = default;

    /// A daemon was here before and has not taken its device away.
    [[nodiscard]] bool is_inherited() const noexcept { return inherited_; }
    /// Of the device that the daemon before has left.
    [[nodiscard]] DeviceShape inherited_shape() const noexcept;

    /// Makes room for a new device; what was inherited is forgotten.
    void begin(const DeviceShape& shape);
    /// One for each head of each queue, `queue_size` for each.
    [[nodiscard]] std::span<soft::InFlightEntry> in_flight() const noexcept;

    /// virtio's device status, as the driver has set it.
    [[nodiscard]] std::uint8_t status() const noexcept;
    void set_status(std::uint8_t status) noexcept;

    /// The device is gone: so is the file.
    void remove() noexcept;

    /// The process that has the device's file, or 0.
    static pid_t owner(const std::string& folder, const std::string& name);

private:
    struct Header;

    void open();
    void map(std::size_t bytes);
    [[nodiscard]] Header& header() const noexcept;

    std::string path_;
    Fd file_;
    Mapping memory_;
    bool inherited_ = false;
};

}  // namespace viaduct::vduse
