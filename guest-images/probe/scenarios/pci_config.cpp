// Configuration space: identity, capabilities, both access mechanisms.
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/msix.hpp"
#include "guest-images/probe/pci.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/virtio_pci.hpp"

namespace probe {
namespace {

using pci::Function;
using virtio::Structure;
namespace header = pci::header;

struct Range {
    unsigned bar;
    uint64_t start;
    uint64_t length;
};

void check_disjoint(const Range* ranges, size_t count) {
    for (size_t i = 0; i < count; ++i) {
        for (size_t j = 0; j < i; ++j) {
            const Range& a = ranges[i];
            const Range& b = ranges[j];
            CHECK(a.bar != b.bar || a.start + a.length <= b.start || b.start + b.length <= a.start,
                  "overlap in BAR ", a.bar, " at ", hex(a.start), " and ", hex(b.start));
        }
    }
}

Range check_structure(const Function& function, Structure structure, uint32_t least_length,
                      uint32_t alignment) {
    const virtio::Location found = virtio::find_structure(function, structure);
    CHECK(found.capability != 0, "structure ", static_cast<unsigned>(structure), " is missing");
    CHECK(found.capability_length >= (structure == Structure::notify ? 20 : 16),
          found.capability_length);
    CHECK(found.bar < pci::bar_count, found.bar);
    CHECK(found.length >= least_length, found.length);
    CHECK_EQUAL(found.offset % alignment, 0U);
    const pci::Bar bar = function.bar(found.bar);
    CHECK(!bar.is_io && bar.contains(found.offset, found.length), "BAR ", found.bar, " size ",
          hex(bar.size), " offset ", hex(found.offset), " length ", hex(found.length));
    return {found.bar, found.offset, found.length};
}

void check_capabilities(const Function& function) {
    CHECK((function.read<uint16_t>(header::status) & pci::status::capabilities) != 0);
    bool is_seen[256 / 4]{};
    for (auto at = function.read<uint8_t>(header::capabilities); at != 0;
         at = function.read<uint8_t>(static_cast<uint16_t>(at + 1))) {
        CHECK(at >= header::end && at % 4 == 0, hex(at));
        CHECK(!is_seen[at / 4], "the list has a loop at ", hex(at));
        is_seen[at / 4] = true;
    }
    const MsixTable msix{function};
    const Range ranges[] = {
        check_structure(function, Structure::common, virtio::common::size, 4),
        check_structure(function, Structure::notify, 2, 2),
        check_structure(function, Structure::isr, 1, 1),
        check_structure(function, Structure::device, 1, 4),
        {msix.table().bar, msix.table().offset, msix.size() * 16ULL},
        {msix.pending_bits().bar, msix.pending_bits().offset, (msix.size() + 63ULL) / 64 * 8},
    };
    for (const Range& range : ranges) {
        CHECK(function.bar(range.bar).contains(range.start, range.length), "BAR ", range.bar);
    }
    check_disjoint(ranges, sizeof(ranges) / sizeof(ranges[0]));
    const virtio::Location window = virtio::find_structure(function, Structure::pci_cfg);
    CHECK(window.capability != 0 && window.capability_length >= 20, window.capability_length);
}

void check_class(const Function& function, uint64_t device_id) {
    constexpr uint8_t storage = 0x01;
    constexpr uint8_t network = 0x02;
    const auto class_code = function.read<uint32_t>(header::revision) >> 8;
    const auto base_class = static_cast<uint8_t>(class_code >> 16);
    if (device_id == 1) CHECK_EQUAL(base_class, network);
    if (device_id == 2 || device_id == 8) CHECK_EQUAL(base_class, storage);
    CHECK_EQUAL(uint64_t{class_code}, option_number("class", class_code));
    print("class ", hex(class_code), "\n");
}

void run_pci_identity() {
    const Function function = virtio::choose_function();
    const uint64_t device_id = option_number("device", 2);
    CHECK_EQUAL(function.read<uint16_t>(header::vendor_id), virtio::pci_vendor);
    CHECK_EQUAL(function.read<uint16_t>(header::device_id), virtio::pci_device_base + device_id);
    CHECK(function.read<uint8_t>(header::revision) >= 1);
    CHECK(function.read<uint16_t>(header::subsystem_id) >= 0x40);
    CHECK_EQUAL(function.read<uint8_t>(header::header_type) & 0x7f, 0);
    const auto pin = function.read<uint8_t>(header::interrupt_pin);
    CHECK(pin >= 1 && pin <= 4, pin);
    check_class(function, device_id);
    function.assign_bars();
    check_capabilities(function);
}

template <typename T>
void compare_mechanisms(pci::Address address, uint16_t offset) {
    const auto by_ports = pci::ports::read<T>(address, offset);
    const auto by_memory = pci::ecam::read<T>(address, offset);
    CHECK(by_ports == by_memory, address.device, ".", address.function, " offset ", hex(offset),
          " width ", sizeof(T), ": ports ", hex(by_ports), ", ECAM ", hex(by_memory));
}

// Narrow reads are slices of the dword.
void check_widths(const Function& function, uint16_t offset) {
    const auto dword = function.read<uint32_t>(offset);
    for (uint16_t i = 0; i < 4; ++i) {
        const auto at = static_cast<uint16_t>(offset + i);
        CHECK_EQUAL(function.read<uint8_t>(at), static_cast<uint8_t>(dword >> (8 * i)));
        if (i % 2 != 0) continue;
        CHECK_EQUAL(function.read<uint16_t>(at), static_cast<uint16_t>(dword >> (8 * i)));
    }
}

void check_read_only(const Function& function) {
    constexpr uint16_t read_only[] = {
        header::vendor_id,           header::device_id,    header::revision,    header::header_type,
        header::subsystem_vendor_id, header::subsystem_id, header::capabilities};
    for (const uint16_t offset : read_only) {
        const auto before = function.read<uint8_t>(offset);
        const auto other = static_cast<uint8_t>(~before);
        pci::ports::write<uint8_t>(function.address(), offset, other);
        pci::ecam::write<uint8_t>(function.address(), offset, other);
        CHECK_EQUAL(function.read<uint8_t>(offset), before);
    }
}

void check_interrupt_line_is_scratch(const Function& function) {
    const pci::Address address = function.address();
    const auto before = function.read<uint8_t>(header::interrupt_line);
    pci::ports::write<uint8_t>(address, header::interrupt_line, 0x5a);
    CHECK_EQUAL(pci::ecam::read<uint8_t>(address, header::interrupt_line), 0x5a);
    pci::ecam::write<uint8_t>(address, header::interrupt_line, 0xa5);
    CHECK_EQUAL(pci::ports::read<uint8_t>(address, header::interrupt_line), 0xa5);
    function.write<uint8_t>(header::interrupt_line, before);
}

void check_absent_function() {
    pci::Address absent{31, 7};
    while (Function{absent}.exists()) --absent.device;
    CHECK_EQUAL(pci::ports::read<uint32_t>(absent, 0), 0xffffffff);
    CHECK_EQUAL(pci::ecam::read<uint32_t>(absent, 0), 0xffffffff);
    pci::ports::write<uint32_t>(absent, header::command, 0xffffffff);
    pci::ecam::write<uint32_t>(absent, header::command, 0xffffffff);
    // Past the 256 bytes of a conventional function: nothing, or an empty list of extended
    // capabilities.
    const auto extended = pci::ecam::read<uint32_t>({0, 0}, 0x100);
    CHECK(extended == 0 || extended == 0xffffffff, hex(extended));
}

void check_ports() {
    pci::ports::select({0, 0}, 0);
    CHECK_EQUAL(in<uint32_t>(pci::ports::address_port), pci::ports::enable);
    out<uint32_t>(pci::ports::address_port, 0);
    CHECK_EQUAL(in<uint32_t>(pci::ports::data_port), 0xffffffff);
}

void run_pci_access() {
    CHECK(pci::ecam::is_available(), "no MCFG table");
    check_ports();
    check_absent_function();
    uint32_t count = 0;
    pci::visit_functions([&](const Function& function) {
        ++count;
        for (uint16_t offset = 0; offset < header::end;
             offset = static_cast<uint16_t>(offset + 4)) {
            compare_mechanisms<uint32_t>(function.address(), offset);
            check_widths(function, offset);
        }
        compare_mechanisms<uint16_t>(function.address(), header::device_id);
        compare_mechanisms<uint8_t>(function.address(), header::revision);
    });
    CHECK(count >= 2, "functions on bus 0: ", count);
    const Function function = virtio::choose_function();
    check_read_only(function);
    check_interrupt_line_is_scratch(function);
}

constexpr Scenario scenarios[] = {
    {"pci-identity", run_pci_identity},
    {"pci-access", run_pci_access},
};

}  // namespace

constexpr ScenarioList pci_config_scenarios{scenarios};

}  // namespace probe
