/// A stock Debian kernel under `viaduct run`, commanded through its serial port and through QMP; to
/// compare, under QEMU too. What does not come in time throws Error with the guest's last words.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/qmp_client.hpp"
#include "tests/support/guest_serial.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {

/// Of every Linux kernel that the lab's tests boot. Retpolines are dear where every indirect jump
/// is emulated.
inline constexpr const char* guest_command_line = "console=ttyS0 quiet panic=-1 mitigations=off";

/// QEMU has KVM, a q35 machine and the firmware that starts a kernel soonest.
enum class GuestsVmm : std::uint8_t { viaduct, qemu };

struct LinuxGuestOptions {
    GuestsVmm vmm = GuestsVmm::viaduct;
    std::string kernel = "vmlinux";  // or "vmlinuz", in build/guest-images/linux
    std::string append = {};         // beyond the console
    std::string memory = "256M";
    unsigned cpus = 1;
    std::vector<std::string> devices = {};         // viaduct: values of --device
    std::vector<std::string> qemu_arguments = {};  // QEMU: its devices and what is behind them
};

/// What a command in the guest printed, without the last line's end, and its exit status.
struct Answer {
    int status = -1;
    std::string out;
};

class LinuxGuest {
public:
    static constexpr Seconds patience{240};

    /// Boots it.
    explicit LinuxGuest(const LinuxGuestOptions& options);

    /// After start and after each reset: until the guest takes commands.
    void wait_until_ready(Seconds limit = patience);
    /// Runs a command of one line to its end.
    Answer sh(std::string_view command, Seconds limit = patience);
    /// What a command of one line prints; expects it to succeed.
    std::string expect(const std::string& command);
    /// Sends a command whose end nobody waits for, but for finish().
    void begin(std::string_view command);
    Answer finish(Seconds limit = patience);

    [[nodiscard]] tests::QmpClient& qmp() noexcept { return qmp_; }
    /// Another client than qmp().
    [[nodiscard]] std::unique_ptr<tests::QmpClient> client() const;
    [[nodiscard]] pid_t pid() const noexcept { return process_.pid(); }
    void send_signal(int signal) const { process_.send_signal(signal); }
    /// Waits for the VMM's end; what the guest printed since the last answer is in Outcome::out.
    Outcome wait();

private:
    TemporaryDirectory directory_;
    Process process_;
    GuestSerial serial_;
    tests::QmpClient qmp_;
};

}  // namespace viaduct::test
