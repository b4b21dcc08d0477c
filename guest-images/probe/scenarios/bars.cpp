// Base address registers: sizing, moving them under a device that works, and the window in
// configuration space.
#include <initializer_list>

#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Device;
using block::Status;
using pci::Function;
using virtio::Structure;
namespace header = pci::header;

uint16_t bar_offset(unsigned index) {
    return static_cast<uint16_t>(header::bars + 4 * index);
}

// A BAR's flag bits are read-only, and its size bits read as zero, whatever is written.
void check_sizing(const Function& function, unsigned index, const pci::Bar& bar) {
    constexpr uint32_t memory_flags = 0xf;
    const uint16_t offset = bar_offset(index);
    const auto before = function.read<uint32_t>(offset);
    function.disable(pci::command::memory);
    for (const uint32_t value : {0xffffffffU, 0x00000000U, 0xa5a5a5a5U}) {
        function.write<uint32_t>(offset, value);
        const auto low_size_bits = static_cast<uint32_t>(bar.size - 1);
        const uint32_t expected =
            (value & ~low_size_bits & ~memory_flags) | (before & memory_flags);
        CHECK_EQUAL(function.read<uint32_t>(offset), expected);
    }
    function.write<uint32_t>(offset, before);
    CHECK_EQUAL(function.read<uint32_t>(offset), before);
    function.enable(pci::command::memory);
}

void run_bar_sizing() {
    const Function function = virtio::choose_function();
    function.assign_bars();
    unsigned implemented = 0;
    for (unsigned index = 0; index < pci::bar_count; ++index) {
        const pci::Bar bar = function.bar(index);
        if (bar.size == 0) {
            CHECK_EQUAL(function.read<uint32_t>(bar_offset(index)), 0U);
            continue;
        }
        ++implemented;
        CHECK(!bar.is_io, "BAR ", index, " is an I/O BAR");
        CHECK(bar.size >= 16 && (bar.size & (bar.size - 1)) == 0, hex(bar.size));
        CHECK_EQUAL(bar.address % bar.size, 0U);
        check_sizing(function, index, bar);
        print("BAR ", index, " at ", hex(bar.address), " size ", hex(bar.size), "\n");
        if (bar.is_64bit) ++index;
    }
    CHECK(implemented > 0);
    // A halfword write changes its half only.
    const auto before = function.read<uint32_t>(header::bars + 4 * 4);
    function.write<uint16_t>(header::bars + 4 * 4 + 2, static_cast<uint16_t>(before >> 16));
    CHECK_EQUAL(function.read<uint32_t>(header::bars + 4 * 4), before);
    Device device{function};
    device.start({});
    pattern::write_and_verify(device.queue(), 0, 4096, 1);
}

void check_nothing_answers_at(uint64_t address) {
    const uint32_t open_bus = runs_on_qemu() ? 0 : 0xffffffff;
    CHECK_EQUAL(mmio_read<uint32_t>(address), open_bus);
    mmio_write<uint32_t>(address, 0);
}

// Moves one BAR of a started device and uses the device through the new address.
void move_bar(Device& device, unsigned index, uint64_t target, bool keeps_decoding) {
    const Function& function = device.transport.function();
    const uint64_t old_address = function.bar_address(index);
    print("BAR ", index, " from ", hex(old_address), " to ", hex(target), "\n");
    if (!keeps_decoding) {
        function.disable(pci::command::memory);
        check_nothing_answers_at(old_address);
    }
    function.set_bar(index, target);
    if (!keeps_decoding) {
        check_nothing_answers_at(old_address);
        check_nothing_answers_at(target);
        function.enable(pci::command::memory);
    }
    CHECK_EQUAL(function.bar_address(index), target);
    check_nothing_answers_at(old_address);
    device.transport.locate();
    CHECK((device.transport.device_status() & virtio::status::driver_ok) != 0);
    // The ring goes on where it was: only the doorbell has another address.
    device.queue().locate(device.transport);
    pattern::write_and_verify(device.queue(), 8, 4096, static_cast<uint32_t>(target >> 12));
    device.start({});
    pattern::write_and_verify(device.queue(), 16, 4096, static_cast<uint32_t>(target >> 13));
}

void run_bar_relocation() {
    Device device{virtio::choose_function()};
    device.start({});
    pattern::write_and_verify(device.queue(), 0, 4096, 1);
    const Function& function = device.transport.function();
    const unsigned index = virtio::find_structure(function, Structure::common).bar;
    const pci::Bar bar = function.bar(index);
    const uint64_t home = bar.address;
    const uint64_t neighbour = pci::allocate_window(bar.size);
    move_bar(device, index, neighbour, false);
    move_bar(device, index, home, true);
    if (bar.is_64bit && physical_address_bits() >= 36) {
        const uint64_t high = option_number("high", 0xe00000000);
        move_bar(device, index, high, false);
        move_bar(device, index, home, false);
        move_bar(device, index, high, true);
        move_bar(device, index, home, true);
    }
}

// virtio 1.2, 4.1.4.9: access to the BARs through configuration space.
class ConfigWindow {
public:
    explicit ConfigWindow(const Function& function)
        : function_{function},
          capability_{virtio::find_structure(function, Structure::pci_cfg).capability} {
        CHECK(capability_ != 0);
    }

    template <typename T>
    T read(unsigned bar, uint32_t offset) const {
        point_to(bar, offset, sizeof(T));
        return function_.read<T>(at(data));
    }
    template <typename T>
    void write(unsigned bar, uint32_t offset, T value) const {
        point_to(bar, offset, sizeof(T));
        function_.write<T>(at(data), value);
    }

private:
    static constexpr uint16_t bar_field = 4;
    static constexpr uint16_t offset_field = 8;
    static constexpr uint16_t length_field = 12;
    static constexpr uint16_t data = 16;

    uint16_t at(uint16_t field) const { return static_cast<uint16_t>(capability_ + field); }
    void point_to(unsigned bar, uint32_t offset, uint32_t length) const {
        function_.write<uint8_t>(at(bar_field), static_cast<uint8_t>(bar));
        function_.write<uint32_t>(at(offset_field), offset);
        function_.write<uint32_t>(at(length_field), length);
        CHECK_EQUAL(function_.read<uint8_t>(at(bar_field)), bar);
        CHECK_EQUAL(function_.read<uint32_t>(at(offset_field)), offset);
        CHECK_EQUAL(function_.read<uint32_t>(at(length_field)), length);
    }

    Function function_;
    uint16_t capability_;
};

template <typename T>
void check_window_register(const ConfigWindow& window, const virtio::Transport& transport,
                           const virtio::Location& common, virtio::Register<T> reg, T value) {
    const uint32_t offset = common.offset + reg.offset;
    CHECK_EQUAL(window.read<T>(common.bar, offset), transport.read(reg));
    window.write<T>(common.bar, offset, value);
    CHECK_EQUAL(transport.read(reg), value);
    CHECK_EQUAL(window.read<T>(common.bar, offset), value);
}

void run_pci_cfg_window() {
    const Function function = virtio::choose_function();
    Device device{function};
    const ConfigWindow window{function};
    const virtio::Location common = virtio::find_structure(function, Structure::common);
    const virtio::Transport& transport = device.transport;
    namespace registers = virtio::common;
    CHECK_EQUAL(window.read<uint32_t>(common.bar, common.offset + registers::device_feature.offset),
                transport.read(registers::device_feature));
    CHECK_EQUAL(window.read<uint16_t>(common.bar, common.offset + registers::num_queues.offset),
                transport.read(registers::num_queues));
    check_window_register<uint32_t>(window, transport, common, registers::device_feature_select, 1);
    check_window_register<uint16_t>(window, transport, common, registers::queue_select, 0);
    check_window_register<uint8_t>(window, transport, common, registers::device_status,
                                   virtio::status::acknowledge);
    // Windows onto nothing: a BAR that is none, an offset past the end, a length that is none.
    window.read<uint32_t>(7, 0);
    window.write<uint32_t>(7, 0, 0xffffffff);
    window.read<uint32_t>(common.bar, 0xfffffffc);
    window.write<uint32_t>(common.bar, 0xfffffffc, 0xffffffff);
    // A doorbell rung through the window starts I/O like any other.
    device.start({});
    void* buffer = allocate(4096);
    const virtio::Segment payload{address_of(buffer), 4096, true};
    const virtio::Location notify = virtio::find_structure(function, Structure::notify);
    const auto doorbell =
        static_cast<uint32_t>(transport.notify_address(0) - function.bar_address(notify.bar));
    device.queue().submit(block::RequestType::read, 0, &payload, 1);
    window.write<uint16_t>(notify.bar, doorbell, 0);
    CHECK_EQUAL(device.queue().wait().status, Status::ok);
}

constexpr Scenario scenarios[] = {
    {"bar-sizing", run_bar_sizing},
    {"bar-relocation", run_bar_relocation},
    {"pci-cfg-window", run_pci_cfg_window},
};

}  // namespace

constexpr ScenarioList bar_scenarios{scenarios};

}  // namespace probe
