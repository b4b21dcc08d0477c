#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "firmware/acpi/aml.hpp"
#include "firmware/acpi/dsdt.hpp"
#include "firmware/acpi/tables.hpp"
#include "tests/unit/firmware_fixture.hpp"

namespace viaduct::firmware::acpi {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::uint32_t> apic_ids(std::size_t count, std::uint32_t first = 0) {
    std::vector<std::uint32_t> ids(count);
    std::iota(ids.begin(), ids.end(), first);
    return ids;
}

template <typename T>
T read(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
    return value;
}

unsigned sum(std::span<const std::byte> bytes) {
    unsigned total = 0;
    for (const std::byte byte : bytes) total += std::to_integer<unsigned>(byte);
    return total & 0xff;
}

/// Finds the tables as an operating system does, from the RSDP.
class Acpi : public testing::Test {
protected:
    void build(const std::vector<std::uint32_t>& ids,
               MemoryRange window = X86Layout(gib, 40).pci_window_64()) {
        built_ = build_acpi({.apic_ids = ids, .io_apic_id = 0, .pci_window_64 = window});
        const auto xsdt = table_at(rsdp().xsdt_address);
        for (std::size_t at = sizeof(TableHeader); at < xsdt.size(); at += 8) {
            add(table_at(read<std::uint64_t>(xsdt, at)));
        }
        add(table_at(fadt().x_dsdt));
    }

    Rsdp rsdp() const { return read<Rsdp>(built_.bytes, built_.rsdp.value - acpi_area.base.value); }
    Fadt fadt() const { return read<Fadt>(tables_.at("FACP"), sizeof(TableHeader)); }
    std::span<const std::byte> at(std::uint64_t address) const {
        return std::span(built_.bytes).subspan(address - acpi_area.base.value);
    }
    std::span<const std::byte> table_at(std::uint64_t address) const {
        return at(address).first(read<TableHeader>(at(address), 0).length);
    }
    void add(std::span<const std::byte> table) {
        const auto signature = read<TableHeader>(table, 0).signature;
        tables_[std::string(signature.begin(), signature.end())] = table;
    }
    std::map<int, int> madt_entries() const {
        std::map<int, int> count;
        const auto madt = tables_.at("APIC");
        std::size_t at = sizeof(TableHeader) + sizeof(Madt);
        while (at < madt.size()) {
            ++count[read<std::uint8_t>(madt, at)];
            at += read<std::uint8_t>(madt, at + 1);
        }
        EXPECT_EQ(at, madt.size());
        return count;
    }

    AcpiTables built_;
    std::map<std::string, std::span<const std::byte>> tables_;
};

bool dsdt_contains(const Bytes& bytes) {
    const auto table = dsdt();
    return std::search(table.begin(), table.end(), bytes.begin(), bytes.end()) != table.end();
}

Bytes bytes_of_values(std::initializer_list<unsigned> values) {
    Bytes bytes;
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}

Bytes little_endian(std::uint64_t value, unsigned size) {
    Bytes bytes;
    for (unsigned i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
    return bytes;
}

TEST_F(Acpi, IsFoundByTheRsdpWhereBiosesPutIt) {
    build(apic_ids(1));
    EXPECT_EQ(built_.rsdp.value % 16, 0U);
    EXPECT_GE(built_.rsdp.value, 0xe'0000U);
    EXPECT_EQ(std::memcmp(rsdp().signature.data(), "RSD PTR ", 8), 0);
    EXPECT_EQ(sum(at(built_.rsdp.value).first(20)), 0U);
    EXPECT_EQ(sum(at(built_.rsdp.value).first(36)), 0U);
}

TEST_F(Acpi, HasEveryTableWithItsLengthAndChecksum) {
    build(apic_ids(64));
    ASSERT_EQ(tables_.size(), 5U);
    for (const char* name : {"FACP", "APIC", "MCFG", "SSDT", "DSDT"}) {
        ASSERT_TRUE(tables_.contains(name)) << name;
        EXPECT_EQ(sum(tables_.at(name)), 0U) << name;
    }
    EXPECT_EQ(sum(table_at(rsdp().xsdt_address)), 0U);
    EXPECT_EQ(tables_.at("FACP").size(), 276U);
    EXPECT_LE(built_.bytes.size(), acpi_area.size);
}

TEST_F(Acpi, CountsOneProcessor) {
    build(apic_ids(1));
    EXPECT_EQ(madt_entries(), (std::map<int, int>{{0, 1}, {1, 1}, {2, 2}, {4, 1}}));
}

TEST_F(Acpi, CountsSixtyFourProcessors) {
    build(apic_ids(64));
    EXPECT_EQ(madt_entries(), (std::map<int, int>{{0, 64}, {1, 1}, {2, 2}, {4, 1}}));
    const auto last = read<MadtLocalApic>(
        tables_.at("APIC"), sizeof(TableHeader) + sizeof(Madt) + 63 * sizeof(MadtLocalApic));
    EXPECT_EQ(last.acpi_processor_uid, 63);
    EXPECT_EQ(last.apic_id, 63);
    EXPECT_EQ(std::uint32_t{last.flags}, 1U);
}

TEST_F(Acpi, DescribesLargeApicIdsAsX2Apic) {
    build(apic_ids(3, 253));
    EXPECT_EQ(madt_entries(),
              (std::map<int, int>{{0, 2}, {1, 1}, {2, 2}, {4, 1}, {9, 1}, {10, 1}}));
}

TEST_F(Acpi, RoutesTheTimerToPinTwoAndTheSciAsLevel) {
    build(apic_ids(1));
    const auto madt = tables_.at("APIC");
    const std::size_t overrides =
        sizeof(TableHeader) + sizeof(Madt) + sizeof(MadtLocalApic) + sizeof(MadtIoApic);
    const auto timer = read<MadtInterruptSourceOverride>(madt, overrides);
    EXPECT_EQ(timer.source, 0);
    EXPECT_EQ(std::uint32_t{timer.global_system_interrupt}, 2U);
    const auto sci = read<MadtInterruptSourceOverride>(madt, overrides + sizeof(timer));
    EXPECT_EQ(sci.source, 9);
    EXPECT_EQ(std::uint32_t{sci.global_system_interrupt}, 9U);
    EXPECT_EQ(std::uint16_t{sci.flags}, 0xdU);
}

TEST_F(Acpi, NamesThePowerAndResetRegisters) {
    build(apic_ids(1));
    const Fadt table = fadt();
    EXPECT_EQ(std::uint32_t{table.pm1a_evt_blk}, 0x600U);
    EXPECT_EQ(std::uint64_t{table.x_pm1a_evt_blk.address}, 0x600U);
    EXPECT_EQ(table.x_pm1a_evt_blk.register_bit_width, 32);
    EXPECT_EQ(std::uint32_t{table.pm1a_cnt_blk}, 0x604U);
    EXPECT_EQ(std::uint64_t{table.reset_reg.address}, 0xcf9U);
    EXPECT_EQ(table.reset_value, 6);
    EXPECT_EQ(std::uint32_t{table.smi_cmd}, 0U) << "always in ACPI mode";
    constexpr unsigned hardware_reduced = 1U << 20;
    constexpr unsigned power_button_is_a_device = 1U << 4;
    constexpr unsigned reset_supported = 1U << 10;
    EXPECT_EQ(table.flags & (hardware_reduced | power_button_is_a_device | reset_supported),
              reset_supported);
    EXPECT_EQ(std::uint32_t{table.firmware_ctrl} % 64, 0U);
    EXPECT_EQ(std::memcmp(at(table.firmware_ctrl).data(), "FACS", 4), 0);
}

TEST_F(Acpi, PointsToTheConfigurationSpaceOfBusZero) {
    build(apic_ids(1));
    const auto mcfg = read<Mcfg>(tables_.at("MCFG"), sizeof(TableHeader));
    EXPECT_EQ(std::uint64_t{mcfg.base_address}, 0xe000'0000U);
    EXPECT_EQ(mcfg.start_bus, 0);
    EXPECT_EQ(mcfg.end_bus, 0);
}

TEST_F(Acpi, RefusesMoreCpusThanItHasRoomFor) {
    EXPECT_THAT(refusal_of([&] { build(apic_ids(4095)); }), HasSubstr("4095 CPUs"));
}

TEST(Dsdt, RoutesEveryPinOfEverySlotToItsGsi) {
    EXPECT_EQ(read<TableHeader>(dsdt(), 0).signature, (Signature{'D', 'S', 'D', 'T'}));
    for (unsigned slot = 0; slot < pci_slots; ++slot) {
        for (unsigned pin = 0; pin < pci_pins; ++pin) {
            // Package (4) { address, pin, Zero, gsi }; iasl takes the shortest constants.
            Bytes route = slot == 0 ? bytes_of_values({0x0b, 0xff, 0xff})
                                    : bytes_of_values({0x0c, 0xff, 0xff, slot, 0});
            route = aml::join({bytes_of_values({4}), route, aml::integer(pin), bytes_of_values({0}),
                               aml::integer(gsi_of(slot, pin))});
            EXPECT_TRUE(dsdt_contains(route)) << "slot " << slot << " pin " << pin;
        }
    }
}

TEST(Dsdt, KeepsANamedPlaceForEverySlot) {
    for (unsigned slot = 1; slot < pci_slots; ++slot) {
        const Bytes place =
            aml::join({aml::name_string(fmt::format("S{:02X}_", slot)), bytes_of_values({0x08}),
                       aml::name_string("_ADR"), bytes_of_values({0x0c, 0, 0, slot, 0}),
                       bytes_of_values({0x08}), aml::name_string("_SUN"), aml::integer(slot)});
        EXPECT_TRUE(dsdt_contains(place)) << "slot " << slot;
    }
}

/// IO (Decode16, port, port, 1, length), ACPI 6.4, 6.4.2.5.
Bytes io_descriptor(std::uint16_t port, unsigned length) {
    return aml::join({bytes_of_values({0x47, 1}), little_endian(port, 2), little_endian(port, 2),
                      bytes_of_values({1, length})});
}

TEST(Dsdt, AgreesWithTheMemoryMap) {
    EXPECT_TRUE(
        dsdt_contains(io_descriptor(pm1a_event_port, pm1a_event_length + pm1a_control_length)));
    EXPECT_TRUE(dsdt_contains(io_descriptor(serial_port, 8)));
    EXPECT_TRUE(dsdt_contains(io_descriptor(rtc_port, 2)));
    EXPECT_TRUE(dsdt_contains(bytes_of_values({0x22, 1U << serial_gsi, 0}))) << "serial IRQ";
    EXPECT_TRUE(dsdt_contains(bytes_of_values({0x22, 0, 1U << (rtc_gsi - 8)}))) << "RTC IRQ";
    EXPECT_TRUE(
        dsdt_contains(aml::join({little_endian(ecam.base.value, 4), little_endian(ecam.size, 4)})));
    EXPECT_TRUE(dsdt_contains(aml::join(
        {little_endian(pci_window_32.base.value, 4), little_endian(pci_window_32.end() - 1, 4),
         little_endian(0, 4), little_endian(pci_window_32.size, 4)})));
    EXPECT_TRUE(
        dsdt_contains(aml::join({bytes_of_values({0x08}), aml::name_string("_S5_"),
                                 bytes_of_values({0x12, 7, 4}), aml::integer(s5_sleep_type)})));
}

TEST(Aml, EncodesLengthsNamesAndIntegersAsSpecified) {
    EXPECT_EQ(aml::integer(0), bytes_of_values({0}));
    EXPECT_EQ(aml::integer(1), bytes_of_values({1}));
    EXPECT_EQ(aml::integer(0xff), bytes_of_values({0x0a, 0xff}));
    EXPECT_EQ(aml::integer(0x1'0000), bytes_of_values({0x0e, 0, 0, 1, 0, 0, 0, 0, 0}));
    EXPECT_EQ(aml::name_string("\\_SB_.PCI0").size(), 10U);
    EXPECT_EQ(aml::name_string("\\_SB_.PCI0.S01_").at(2), std::byte{3});
    const Bytes small = aml::scope("AAAA", Bytes(10));
    EXPECT_EQ(Bytes(small.begin(), small.begin() + 3), bytes_of_values({0x10, 0x40, 0x01}));
    const Bytes large = aml::scope("AAAA", Bytes(0x1234));
    EXPECT_EQ(Bytes(large.begin(), large.begin() + 4), bytes_of_values({0x10, 0x8b, 0x23, 0x01}));
}

/// iasl turns the tables back into source, and the two with code once more into AML.
class AcpiDisassembly : public Acpi {
protected:
    void write_tables() const {
        for (const auto& [name, bytes] : tables_) {
            std::ofstream file(directory_.path(name + ".aml"), std::ios::binary);
            file.write(reinterpret_cast<const char*>(bytes.data()),
                       static_cast<std::streamsize>(bytes.size()));
        }
    }
    /// Runs iasl and returns what it says. It exits with 0 in spite of most complaints.
    std::string iasl(const std::string& arguments) const {
        const std::string command =
            "cd '" + directory_.path("") + "' && iasl " + arguments + " > log 2>&1";
        const int status = std::system(command.c_str());
        EXPECT_EQ(status, 0) << command << '\n' << text_of("log");
        return text_of("log");
    }
    std::string text_of(const std::string& file) const {
        std::stringstream text;
        text << std::ifstream(directory_.path(file)).rdbuf();
        EXPECT_FALSE(text.str().empty()) << file << " is empty or missing";
        return text.str();
    }

private:
    test::TemporaryDirectory directory_;
};

bool has_complaint(const std::string& text) {
    return std::ranges::any_of(
        std::array{"Warning", "Error", "Invalid", "Unknown", "****"},
        [&](const char* word) { return text.find(word) != std::string::npos; });
}

TEST_F(AcpiDisassembly, FindsNothingWrongWithAnyTable) {
    build(apic_ids(64));
    write_tables();
    for (const char* arguments : {"-d APIC.aml", "-d FACP.aml", "-d MCFG.aml",
                                  "-e SSDT.aml -d DSDT.aml", "-e DSDT.aml -d SSDT.aml"}) {
        const std::string log = iasl(arguments);
        EXPECT_FALSE(has_complaint(log)) << arguments << '\n' << log;
    }
    for (const char* name : {"APIC.dsl", "FACP.dsl", "MCFG.dsl", "DSDT.dsl", "SSDT.dsl"}) {
        EXPECT_FALSE(has_complaint(text_of(name))) << name;
    }
    EXPECT_THAT(iasl("-p again DSDT.dsl"), HasSubstr("0 Errors, 0 Warnings, 0 Remarks"));
    EXPECT_THAT(iasl("-p again SSDT.dsl"), HasSubstr("0 Errors, 0 Warnings, 0 Remarks"));
}

TEST_F(AcpiDisassembly, ShowsTheProcessorsAndTheWindowOfThisMachine) {
    build(apic_ids(2), {Gpa{5 * gib}, 256 * gib});
    write_tables();
    (void)iasl("-e DSDT.aml -d SSDT.aml");
    const std::string text = text_of("SSDT.dsl");
    EXPECT_THAT(text, HasSubstr("Device (C001)"));
    EXPECT_THAT(text, Not(HasSubstr("Device (C002)")));
    EXPECT_THAT(text, HasSubstr("Name (W64B, 0x0000000140000000)"));
    EXPECT_THAT(text, HasSubstr("Name (W64L, 0x0000004000000000)"));
}

}  // namespace
}  // namespace viaduct::firmware::acpi
