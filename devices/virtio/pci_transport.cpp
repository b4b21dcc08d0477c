#include "devices/virtio/pci_transport.hpp"

#include <linux/pci_regs.h>

#include <algorithm>
#include <mutex>

namespace viaduct::virtio {
namespace {

/// num_queues has 16 bits, and the last index is not a queue's.
constexpr unsigned max_queues = 0xffff;

/// For a bus: the device stays with the transport, which leaves the bus before it goes.
std::shared_ptr<devices::BusDevice> borrowed(devices::BusDevice& device) {
    return {std::shared_ptr<void>{}, &device};
}

}  // namespace

void PciTransport::Isr::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    if (offset == 0 && !bytes.empty()) bytes[0] = std::byte{interrupts_.take_isr()};
}

void PciTransport::Isr::write(std::uint64_t /*offset*/,
                              std::span<const std::byte> /*bytes*/) noexcept {}

std::size_t PciTransport::DeviceConfig::inside(std::uint64_t offset,
                                               std::size_t length) const noexcept {
    if (offset >= size_) return 0;
    return static_cast<std::size_t>(std::min<std::uint64_t>(length, size_ - offset));
}

void PciTransport::DeviceConfig::read(std::uint64_t offset, std::span<std::byte> bytes) noexcept {
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    const std::size_t length = inside(offset, bytes.size());
    if (length == 0) return;
    const std::lock_guard lock(mutex_);
    device_.read_config(static_cast<std::uint32_t>(offset), bytes.first(length));
}

void PciTransport::DeviceConfig::write(std::uint64_t offset,
                                       std::span<const std::byte> bytes) noexcept {
    const std::size_t length = inside(offset, bytes.size());
    if (length == 0) return;
    const std::lock_guard lock(mutex_);
    device_.write_config(static_cast<std::uint32_t>(offset), bytes.first(length));
}

void PciTransport::RegisterBar::add(std::uint64_t offset, std::uint64_t size,
                                    devices::BusDevice& part) {
    parts_.add(offset, size, borrowed(part));
}

PciTransport::PciTransport(Device& device, const PciPlatform& platform,
                           devices::InterruptLine& line, pci::Bdf bdf, const std::string& name)
    : device_(device),
      loop_(platform.loop),
      queues_(std::min(device.queue_count(), max_queues)),
      config_(pci_identity(device.device_id())),
      msix_(platform.msi, bdf, queues_ + 1),
      layout_(device.config_size(), queues_, msix_),
      capabilities_(add_capabilities(config_, layout_, msix_)),
      window_(config_, capabilities_.config_window),
      interrupts_(device, msix_, line, platform.loop, queues_),
      notify_(device, platform.doorbells, queues_, name),
      common_(device, device_mutex_, interrupts_, notify_, queues_, name),
      isr_(interrupts_),
      device_config_(device, device_mutex_, layout_.device_size),
      bars_(config_, platform.memory, platform.may_map, name) {
    add_bars();
    loop_.watch(device_.config_call().fd(), [this] {
        if (device_.config_call().take()) common_.config_changed();
    });
}

PciTransport::~PciTransport() {
    loop_.unwatch(device_.config_call().fd());
}

void PciTransport::add_bars() {
    register_bar_.add(PciLayout::common, PciLayout::page, common_);
    register_bar_.add(PciLayout::isr, PciLayout::page, isr_);
    register_bar_.add(PciLayout::msix, msix_.size(), msix_);
    register_bar_.add(layout_.device, layout_.registers.size - layout_.device, device_config_);
    bars_.add(register_bar, layout_.registers, borrowed(register_bar_));
    bars_.add(notify_bar, layout_.notify, borrowed(notify_),
              [this](std::optional<Gpa> address) { notify_.move(address); });
}

void PciTransport::read_config(std::uint16_t offset, std::span<std::byte> bytes) noexcept {
    if (window_.touched(offset, bytes.size())) read_window();
    {
        const std::lock_guard lock(config_mutex_);
        config_.read(offset, bytes);
    }
    if (offset <= PCI_STATUS && offset + bytes.size() > PCI_STATUS && interrupts_.intx_pending()) {
        bytes[PCI_STATUS - offset] |= std::byte{PCI_STATUS_INTERRUPT};
    }
}

void PciTransport::write_config(std::uint16_t offset, std::span<const std::byte> bytes) noexcept {
    PciConfigWindow::Target target;
    {
        const std::lock_guard lock(config_mutex_);
        config_.write(offset, bytes);
        config_written();
        if (window_.touched(offset, bytes.size())) target = window_.target();
    }
    if (devices::BusDevice* bar = window_target(target))
        bar->write(target.offset, target.accessed());
}

void PciTransport::config_written() noexcept {
    constexpr std::uint16_t control_offset = PCI_MSIX_FLAGS;
    const auto control =
        config_.value(static_cast<std::uint16_t>(capabilities_.msix + control_offset), 2);
    bars_.update();
    interrupts_.set_intx_disabled(config_.intx_disabled());
    interrupts_.set_msix_control((control & PCI_MSIX_FLAGS_ENABLE) != 0,
                                 (control & PCI_MSIX_FLAGS_MASKALL) != 0);
}

devices::BusDevice* PciTransport::window_target(const PciConfigWindow::Target& target) noexcept {
    if (!target.valid()) return nullptr;
    if (target.bar == register_bar) return &register_bar_;
    if (target.bar == notify_bar) return &notify_;
    return nullptr;
}

void PciTransport::read_window() noexcept {
    PciConfigWindow::Target target;
    {
        const std::lock_guard lock(config_mutex_);
        target = window_.target();
    }
    devices::BusDevice* bar = window_target(target);
    if (bar == nullptr) return;
    bar->read(target.offset, target.accessed());
    const std::lock_guard lock(config_mutex_);
    window_.store(target);
}

void PciTransport::reset() noexcept {
    common_.reset();
    {
        const std::lock_guard lock(config_mutex_);
        config_.reset();
        config_written();
    }
    msix_.reset();
    notify_.reset();
}

}  // namespace viaduct::virtio
