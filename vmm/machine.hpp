/// The machine: owns the VM, its memory, vCPUs, buses and devices; builds them from a Config, runs,
/// pauses, resets and ends them.
///
/// Whatever takes its time (a device that drains, vCPUs that stop) happens on the machine's own
/// thread: the requests below return at once, in any thread, are carried out in order, and say when
/// they are done. An Observer hears of every change, on that thread.
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.hpp"
#include "devices/virtio/pci_transport.hpp"
#include "vdpa/datapath/guest_device.hpp"
#include "vmm/arch/x86_64/cpu_state.hpp"
#include "vmm/arch/x86_64/platform.hpp"
#include "vmm/config.hpp"
#include "vmm/guest_memory.hpp"
#include "vmm/kvm/doorbells.hpp"
#include "vmm/kvm/memory_slots.hpp"
#include "vmm/kvm/stats.hpp"
#include "vmm/kvm/system.hpp"
#include "vmm/kvm/vcpu.hpp"
#include "vmm/kvm/vm.hpp"
#include "vmm/vcpu_threads.hpp"

namespace viaduct::vmm {

enum class RunState { prelaunch, running, paused, shutdown };

/// Why a machine was reset or ended, in QEMU's words (its ShutdownCause).
struct Cause {
    bool guest = false;
    std::string_view reason;
};
namespace cause {
inline constexpr Cause guest_shutdown{true, "guest-shutdown"};
inline constexpr Cause guest_reset{true, "guest-reset"};
inline constexpr Cause host_signal{false, "host-signal"};
inline constexpr Cause host_ui{false, "host-ui"};
inline constexpr Cause host_error{false, "host-error"};
inline constexpr Cause qmp_quit{false, "host-qmp-quit"};
inline constexpr Cause qmp_reset{false, "host-qmp-system-reset"};
}  // namespace cause

class Machine {
public:
    class Observer {
    public:
        virtual ~Observer() = default;
        virtual void on_stop() = 0;
        virtual void on_resume() = 0;
        virtual void on_reset(Cause cause) = 0;
        virtual void on_device_broken(const std::string& id, const std::string& reason) = 0;
        virtual void on_datapath_changed(const std::string& id,
                                         const datapath::SwitchReport& report) = 0;
        /// The last call: the vCPUs stand still for good, the devices are at rest.
        virtual void on_shutdown(Cause cause, int exit_status) = 0;
    };
    using Done = std::function<void()>;

    struct Cpu {
        unsigned index;
        pid_t thread_id;
    };

    /// A device and how its guest reaches it.
    struct Device {
        Device(const datapath::GuestDeviceOptions& options, datapath::GuestDevice::Open open,
               Machine& machine, unsigned slot);
        Device(const Device&) = delete;
        Device& operator=(const Device&) = delete;
        /// Takes its function off the bus, which would otherwise outlive what it stands on.
        ~Device();

        datapath::GuestDevice guest_device;
        std::unique_ptr<devices::InterruptLine> intx;
        std::shared_ptr<virtio::PciTransport> transport;

    private:
        pci::HostBus& bus_;
        unsigned slot_;
    };

    /// Builds everything; throws Error for what cannot be built.
    Machine(const Config& config, devices::Serial::Peer& serial_peer, Observer& observer);
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine();

    /// The vCPUs run from here on.
    void start();

    /// Pauses the vCPUs and brings the devices to rest.
    void stop(Done done);
    void resume(Done done);
    void reset(Cause cause, Done done);
    void press_power_button() { platform_.press_power_button(); }
    void shut_down(Cause cause, int exit_status);

    [[nodiscard]] RunState state() const noexcept { return state_; }
    [[nodiscard]] const Config& config() const noexcept { return config_; }
    [[nodiscard]] devices::Serial& serial() noexcept { return platform_.serial(); }
    [[nodiscard]] const std::vector<std::unique_ptr<Device>>& devices() const noexcept {
        return devices_;
    }
    [[nodiscard]] datapath::ThrottleGroups& throttle_groups() noexcept { return throttle_groups_; }
    /// KVM's own counters.
    [[nodiscard]] const kvm::Stats& vm_stats() const noexcept { return vm_stats_; }
    [[nodiscard]] const std::vector<kvm::Stats>& vcpu_stats() const noexcept { return vcpu_stats_; }
    [[nodiscard]] std::vector<Cpu> cpus() const;

private:
    [[nodiscard]] x86::PlatformEvents platform_events();
    [[nodiscard]] virtio::PciPlatform pci_platform();
    [[nodiscard]] std::vector<kvm::MemorySlots::Slot> add_memory();
    void add_vcpus();
    void add_devices();
    /// The limits are the groups': throws for a device that shares some and cannot be held to them.
    void check_throttle_groups() const;
    /// `fresh`: nothing was ever written to the guest's memory.
    void load_guest(bool fresh);
    /// As a PC's firmware does for systems that do not read _PRT.
    void assign_interrupt_lines();

    // On vCPU threads.
    void on_exit(kvm::Vcpu& vcpu);
    void on_run_failure(kvm::Vcpu& vcpu, int error);
    void on_guest_reset();
    void on_guest_end(Cause cause, int exit_status);

    // On the machine's own thread.
    void do_stop();
    void do_resume();
    void do_reset(Cause cause);
    void do_shut_down(Cause cause, int exit_status);

    const Config config_;
    Observer& observer_;
    std::atomic<RunState> state_ = RunState::prelaunch;
    std::atomic<bool> guest_reset_pending_ = false;

    kvm::System system_;
    std::vector<kvm_cpuid_entry2> supported_cpuid_;
    firmware::X86Layout layout_;
    kvm::Vm vm_;
    kvm::Stats vm_stats_;
    kvm::MemorySlots slots_;
    GuestMemory memory_;
    /// KVM takes milliseconds over the first slot: it does so while the platform is built.
    std::future<std::vector<kvm::MemorySlots::Slot>> adding_memory_;
    std::vector<kvm::MemorySlots::Slot> memory_slots_;
    kvm::Doorbells doorbells_;
    devices::Bus memory_bus_;
    EventLoop events_;  // interrupts that the VMM itself delivers
    x86::Platform platform_;
    std::vector<std::unique_ptr<kvm::Vcpu>> vcpus_;
    std::vector<kvm::Stats> vcpu_stats_;
    std::vector<x86::CpuState> power_on_cpus_;
    VcpuThreads threads_;
    datapath::ThrottleGroups throttle_groups_;
    std::vector<std::unique_ptr<Device>> devices_;
    EventLoop lifecycle_;  // last: its thread uses all of the above
};

}  // namespace viaduct::vmm
