#include "vmm/machine.hpp"

#include <linux/pci_regs.h>

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "base/log.hpp"
#include "firmware/acpi/tables.hpp"
#include "firmware/kernel.hpp"
#include "vmm/arch/x86_64/cpuid.hpp"
#include "vmm/arch/x86_64/exits.hpp"
#include "vmm/device_opener.hpp"

namespace viaduct::vmm {
namespace {

datapath::GuestDeviceOptions guest_options(const DeviceConfig& device,
                                           datapath::ThrottleGroups& groups) {
    datapath::GuestDeviceOptions options;
    options.id = device.id;
    options.policy = device.policy;
    options.queue_size = device.queue_size;
    options.longest_poll = device.poll.value_or(options.longest_poll);
    const ThrottleConfig& throttle = device.throttle;
    if (!throttle.group.empty() || throttle.limits.any()) {
        options.throttle_group =
            groups.find_or_create(throttle.group.empty() ? device.id : throttle.group);
    }
    options.throttle = throttle.limits;
    return options;
}

}  // namespace

Machine::Device::Device(const datapath::GuestDeviceOptions& options,
                        datapath::GuestDevice::Open open, Machine& machine, unsigned slot)
    : guest_device(options, std::move(open), machine.memory_.address_space(), machine.threads_,
                   {.on_broken =
                        [&machine, id = options.id](const std::string& reason) {
                            machine.observer_.on_device_broken(id, reason);
                        },
                    .on_switched =
                        [&machine, id = options.id](const datapath::SwitchReport& report) {
                            machine.observer_.on_datapath_changed(id, report);
                        }}),
      intx(machine.platform_.interrupts().line(firmware::gsi_of(slot, 0))),
      transport(std::make_shared<virtio::PciTransport>(guest_device, machine.pci_platform(), *intx,
                                                       pci::Bdf::of_slot(slot), options.id)),
      bus_(machine.platform_.pci()),
      slot_(slot) {
    bus_.add(slot_, transport);
}

Machine::Device::~Device() {
    bus_.remove(slot_);
}

Machine::Machine(const Config& config, devices::Serial::Peer& serial_peer, Observer& observer)
    : config_(config),
      observer_(observer),
      supported_cpuid_(system_.supported_cpuid()),
      layout_(config.memory, x86::physical_address_bits(supported_cpuid_)),
      vm_(system_),
      vm_stats_(vm_.fd()),
      slots_(vm_),
      memory_(layout_.ram(), config.page_size),
      adding_memory_(std::async(std::launch::async, [this] { return add_memory(); })),
      doorbells_(vm_, slots_),
      events_("interrupts"),
      platform_(system_, vm_, events_, memory_bus_, serial_peer, config.debug_exit_port,
                platform_events()),
      lifecycle_("machine") {
    add_vcpus();
    load_guest(true);
    memory_slots_ = adding_memory_.get();
    add_devices();
    assign_interrupt_lines();
}

Machine::~Machine() {
    threads_.join();
    for (unsigned slot = 1; slot <= devices_.size(); ++slot) platform_.pci().remove(slot);
    for (auto& slot : memory_slots_) slot.leave_to_vm();
}

virtio::PciPlatform Machine::pci_platform() {
    return {.memory = memory_bus_,
            .may_map = [this](Gpa address,
                              std::uint64_t size) { return !memory_.overlaps(address, size); },
            .msi = platform_.interrupts(),
            .doorbells = doorbells_,
            .loop = events_};
}

std::vector<kvm::MemorySlots::Slot> Machine::add_memory() {
    std::vector<kvm::MemorySlots::Slot> slots;
    for (const MemoryRegion& region : memory_.address_space().regions()) {
        slots.push_back(slots_.add(Gpa{region.iova.value}, region.bytes));
    }
    return slots;
}

void Machine::add_vcpus() {
    const auto msr_indices = system_.msr_indices();
    for (unsigned index = 0; index < config_.cpus; ++index) {
        auto vcpu = std::make_unique<kvm::Vcpu>(system_, vm_, index);
        vcpu->set_cpuid(x86::vcpu_cpuid(supported_cpuid_, index, config_.cpus));
        power_on_cpus_.push_back(x86::save_cpu_state(*vcpu, msr_indices));
        vcpu_stats_.emplace_back(vcpu->fd());
        vcpus_.push_back(std::move(vcpu));
    }
}

void Machine::add_devices() {
    for (const DeviceConfig& device : config_.devices) {
        const auto slot = static_cast<unsigned>(devices_.size() + 1);  // 0 is the host bridge
        devices_.push_back(std::make_unique<Device>(guest_options(device, throttle_groups_),
                                                    opener_of(device), *this, slot));
    }
    check_throttle_groups();
}

void Machine::check_throttle_groups() const {
    for (std::size_t i = 0; i < devices_.size(); ++i) {
        const std::string& name = config_.devices[i].throttle.group;
        const datapath::GuestDevice& guest = devices_[i]->guest_device;
        const bool is_limited = std::any_of(
            config_.devices.begin(), config_.devices.end(), [&](const DeviceConfig& device) {
                return device.throttle.group == name && device.throttle.limits.any();
            });
        if (name.empty() || !is_limited) continue;
        if (!guest.disk()) {
            throw Error(
                "device '{}' is in the throttle group '{}', which has I/O limits: those are for "
                "disks, leave the group away",
                guest.id(), name);
        }
        if (guest.switchable() && guest.policy() != datapath::Policy::fast) continue;
        throw Error(
            "device '{}' is in the throttle group '{}', which has I/O limits, and its data path is "
            "'{}', where nobody would enforce them: use datapath=auto or slow, or leave the group "
            "away",
            guest.id(), name, datapath::name_of(guest.policy()));
    }
}

void Machine::load_guest(bool fresh) {
    firmware::acpi::AcpiPlan plan;
    plan.apic_ids.resize(config_.cpus);
    std::iota(plan.apic_ids.begin(), plan.apic_ids.end(), 0U);
    plan.pci_window_64 = layout_.pci_window_64();
    const auto tables = firmware::acpi::build_acpi(plan);
    firmware::acpi::write_acpi(tables, memory_.address_space());
    const auto kernel = firmware::load_kernel({.kernel = config_.kernel,
                                               .initrd = config_.initrd,
                                               .command_line = config_.append,
                                               .rsdp = tables.rsdp,
                                               .memory_is_zero = fresh},
                                              layout_, memory_.address_space());
    x86::enter_kernel(*vcpus_.front(), kernel.cpu);
}

void Machine::assign_interrupt_lines() {
    for (unsigned slot = 1; slot <= devices_.size(); ++slot) {
        const auto gsi = static_cast<std::byte>(firmware::gsi_of(slot, 0));
        platform_.pci().config_write(pci::Bdf::of_slot(slot), PCI_INTERRUPT_LINE, {&gsi, 1});
    }
}

x86::PlatformEvents Machine::platform_events() {
    return {.power_off = [this] { on_guest_end(cause::guest_shutdown, 0); },
            .reset = [this] { on_guest_reset(); },
            .debug_exit =
                [this](std::uint32_t value) {
                    on_guest_end(cause::guest_shutdown, devices::DebugExit::exit_status(value));
                }};
}

std::vector<Machine::Cpu> Machine::cpus() const {
    std::vector<Cpu> cpus;
    for (const auto& vcpu : vcpus_) {
        cpus.push_back({vcpu->index(), threads_.thread_id(vcpu->index())});
    }
    return cpus;
}

void Machine::start() {
    state_ = RunState::running;
    threads_.start(
        vcpus_, [this](kvm::Vcpu& vcpu) { on_exit(vcpu); },
        [this](kvm::Vcpu& vcpu, int error) { on_run_failure(vcpu, error); });
}

void Machine::on_exit(kvm::Vcpu& vcpu) {
    switch (x86::dispatch_exit(vcpu, memory_bus_, platform_.ports())) {
        case x86::ExitOutcome::handled:
            return;
        case x86::ExitOutcome::shutdown:
            on_guest_reset();
            return;
        case x86::ExitOutcome::failed:
            log::error("the guest cannot go on: {}", x86::describe_failure(vcpu));
            on_guest_end(cause::host_error, 1);
    }
}

void Machine::on_run_failure(kvm::Vcpu& vcpu, int error) {
    log::error("the guest cannot go on: {}: {}", x86::describe_failure(vcpu),
               SystemError("KVM_RUN", error).what());
    on_guest_end(cause::host_error, 1);
}

void Machine::on_guest_reset() {
    if (guest_reset_pending_.exchange(true)) return;
    threads_.pause_soon();
    lifecycle_.post([this] {
        guest_reset_pending_ = false;
        do_reset(cause::guest_reset);
        threads_.resume();
    });
}

void Machine::on_guest_end(Cause cause, int exit_status) {
    threads_.pause_soon();
    shut_down(cause, exit_status);
}

void Machine::stop(Done done) {
    lifecycle_.post([this, done = std::move(done)] {
        do_stop();
        done();
    });
}

void Machine::resume(Done done) {
    lifecycle_.post([this, done = std::move(done)] {
        do_resume();
        done();
    });
}

void Machine::reset(Cause cause, Done done) {
    lifecycle_.post([this, cause, done = std::move(done)] {
        do_reset(cause);
        done();
    });
}

void Machine::shut_down(Cause cause, int exit_status) {
    lifecycle_.post([this, cause, exit_status] { do_shut_down(cause, exit_status); });
}

void Machine::do_stop() {
    if (state_ != RunState::running) return;
    threads_.pause();
    for (const auto& device : devices_) device->guest_device.stop();
    state_ = RunState::paused;
    observer_.on_stop();
}

void Machine::do_resume() {
    if (state_ != RunState::paused) return;
    for (const auto& device : devices_) device->guest_device.resume();
    for (const auto& vcpu : vcpus_) vcpu->notify_paused();
    state_ = RunState::running;
    observer_.on_resume();
    threads_.resume();
}

void Machine::do_reset(Cause cause) {
    if (state_ == RunState::shutdown) return;
    const datapath::VcpusPaused paused(threads_);
    threads_.finish_accesses();
    try {
        platform_.reset();
        for (std::size_t i = 0; i < vcpus_.size(); ++i) {
            x86::restore_cpu_state(*vcpus_[i], power_on_cpus_[i]);
        }
        load_guest(false);
        assign_interrupt_lines();
    } catch (const Error& failure) {
        log::error("the machine cannot start again: {}", failure.what());
        do_shut_down(cause::host_error, 1);
        return;
    }
    observer_.on_reset(cause);
}

void Machine::do_shut_down(Cause cause, int exit_status) {
    if (state_ == RunState::shutdown) return;
    threads_.pause();
    if (state_ == RunState::running) {
        for (const auto& device : devices_) device->guest_device.stop();
    }
    state_ = RunState::shutdown;
    observer_.on_shutdown(cause, exit_status);
}

}  // namespace viaduct::vmm
