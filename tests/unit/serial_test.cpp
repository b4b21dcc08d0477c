#include "devices/serial.hpp"

#include <array>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace viaduct::devices {
namespace {

class UartLine final : public InterruptLine {
public:
    void set(bool asserted) noexcept override {
        high = asserted;
        if (asserted) ++rises;
    }
    bool high = false;
    int rises = 0;
};

class Cable final : public Serial::Peer {
public:
    bool transmit(std::byte byte) noexcept override {
        text.push_back(std::to_integer<char>(byte));
        return ready;
    }
    void room_for_input() noexcept override { ++room; }

    std::string text;
    bool ready = true;
    int room = 0;
};

struct SerialPort : testing::Test {
    enum : std::uint64_t {
        buffer,
        interrupt_enable,
        ident,
        line_control,
        modem_control,
        line_status,
        modem_status,
        scratch
    };
    static constexpr std::uint64_t fifo_control = ident;

    std::uint8_t in(std::uint64_t offset) {
        std::byte value{0x5a};
        port.read(offset, {&value, 1});
        return std::to_integer<std::uint8_t>(value);
    }
    void out(std::uint64_t offset, unsigned value) {
        const std::byte byte{static_cast<std::uint8_t>(value)};
        port.write(offset, {&byte, 1});
    }
    std::size_t type(std::string_view text) { return port.receive(std::as_bytes(std::span(text))); }
    std::string read_all() {
        std::string text;
        while ((in(line_status)&0x01) != 0) text.push_back(static_cast<char>(in(buffer)));
        return text;
    }

    UartLine line;
    Cable cable;
    Serial port{line, cable};
};

TEST_F(SerialPort, SendsEachByteAtOnceAndIsReadyForTheNext) {
    for (const char c : std::string_view("boot")) {
        EXPECT_EQ(in(line_status), 0x60);
        out(buffer, static_cast<unsigned char>(c));
    }
    EXPECT_EQ(cable.text, "boot");
    EXPECT_FALSE(line.high);
}

TEST_F(SerialPort, PassesTheProbesOfLinux8250Autoconfiguration) {
    out(interrupt_enable, 0x00);
    EXPECT_EQ(in(interrupt_enable), 0x00);
    out(interrupt_enable, 0xff);
    EXPECT_EQ(in(interrupt_enable), 0x0f) << "more bits would make it an XScale or TI UART";
    out(interrupt_enable, 0x00);
    out(modem_control, 0x1a);
    EXPECT_EQ(in(modem_status)&0xf0, 0x90);
    out(modem_control, 0x00);
    out(line_control, 0xbf);
    out(fifo_control, 0x00);
    EXPECT_NE(in(ident), 0) << "0 would make it a 16850";
    out(line_control, 0x00);
    out(fifo_control, 0x01);
    EXPECT_EQ(in(ident) >> 6, 3) << "a 16550A";
    out(line_control, 0x80);
    out(fifo_control, 0x21);
    EXPECT_EQ(in(ident) >> 5, 6) << "7 would make it a 16750";
}

TEST_F(SerialPort, HoldsSixteenOf256LoopedBackBytes) {
    out(fifo_control, 0x07);
    out(modem_control, 0x10);
    for (unsigned i = 0; i < 256; ++i) out(buffer, i);
    EXPECT_EQ(in(line_status)&0x03, 0x03);
    std::string expected;
    for (char c = 0; c < 16; ++c) expected.push_back(c);
    EXPECT_EQ(read_all(), expected);
    EXPECT_EQ(cable.text, "");
}

TEST_F(SerialPort, WithoutFifosAnOverrunReplacesTheOlderByte) {
    out(modem_control, 0x10);
    out(buffer, 'a');
    out(buffer, 'b');
    EXPECT_EQ(in(line_status), 0x63);
    EXPECT_EQ(in(line_status), 0x61) << "reading clears the overrun";
    EXPECT_EQ(in(buffer), 'b');
    EXPECT_EQ(in(line_status), 0x60);
}

TEST_F(SerialPort, DivisorLatchHidesTheDataRegisters) {
    out(interrupt_enable, 0x01);
    out(line_control, 0x83);
    out(buffer, 0x34);
    out(interrupt_enable, 0x12);
    EXPECT_EQ(in(buffer), 0x34);
    EXPECT_EQ(in(interrupt_enable), 0x12);
    out(line_control, 0x03);
    EXPECT_EQ(in(interrupt_enable), 0x01);
    EXPECT_EQ(cable.text, "");
    EXPECT_EQ(port.save().divisor_low, 0x34);
    EXPECT_EQ(port.save().divisor_high, 0x12);
    EXPECT_EQ(in(line_control), 0x03);
}

TEST_F(SerialPort, ScratchStoresAndStatusRegistersAreReadOnly) {
    out(scratch, 0xa5);
    EXPECT_EQ(in(scratch), 0xa5);
    out(line_status, 0xff);
    out(modem_status, 0xff);
    EXPECT_EQ(in(line_status), 0x60);
    EXPECT_EQ(in(modem_status), 0xb0);
}

TEST_F(SerialPort, EnablingTheTransmitterInterruptRaisesItEachTime) {
    out(interrupt_enable, 0x02);
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(ident), 0x02);
    EXPECT_FALSE(line.high) << "reading the identification clears it";
    EXPECT_EQ(in(ident), 0x01);
    out(interrupt_enable, 0x02);
    EXPECT_FALSE(line.high) << "it was enabled before";
    out(interrupt_enable, 0x00);
    out(interrupt_enable, 0x02);
    EXPECT_TRUE(line.high) << "Linux would call this a broken THRE";
    EXPECT_EQ(in(ident), 0x02);
}

TEST_F(SerialPort, TransmitterInterruptComesAgainAfterEachByte) {
    out(interrupt_enable, 0x02);
    EXPECT_EQ(in(ident), 0x02);
    out(buffer, 'x');
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(ident), 0x02);
    EXPECT_EQ(in(ident), 0x01);
}

TEST_F(SerialPort, ReceivesWithInterruptUntilTheFifoIsEmpty) {
    out(fifo_control, 0x01);
    out(interrupt_enable, 0x01);
    EXPECT_EQ(type("ls\n"), 3U);
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(ident), 0xc4);
    EXPECT_EQ(in(buffer), 'l');
    EXPECT_EQ(in(buffer), 's');
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(buffer), '\n');
    EXPECT_FALSE(line.high);
    EXPECT_EQ(in(ident), 0xc1);
    EXPECT_EQ(in(buffer), 0) << "an empty FIFO";
}

TEST_F(SerialPort, BelowTheTriggerLevelItReportsACharacterTimeout) {
    out(fifo_control, 0x81);  // trigger at 8
    out(interrupt_enable, 0x01);
    type("1234567");
    EXPECT_EQ(in(ident), 0xcc);
    type("8");
    EXPECT_EQ(in(ident), 0xc4);
    EXPECT_EQ(in(buffer), '1');
    EXPECT_EQ(in(ident), 0xcc);
}

TEST_F(SerialPort, IdentifiesInterruptsInTheChipsOrder) {
    out(fifo_control, 0x01);
    out(modem_control, 0x10);  // the lines change: a modem status interrupt
    out(modem_control, 0x00);
    EXPECT_TRUE(port.receive_break());
    out(interrupt_enable, 0x0f);
    EXPECT_EQ(in(ident), 0xc6);
    EXPECT_EQ(in(line_status), 0xf1) << "break at the head of the FIFO";
    EXPECT_EQ(in(ident), 0xc4);
    EXPECT_EQ(in(buffer), 0);
    EXPECT_EQ(in(ident), 0xc2);
    EXPECT_EQ(in(ident), 0xc0);
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(modem_status)&0x0f, 0x0b);
    EXPECT_EQ(in(ident), 0xc1);
    EXPECT_FALSE(line.high);
}

TEST_F(SerialPort, BreakIsReportedWithItsCharacterOnly) {
    out(fifo_control, 0x01);
    type("a");
    EXPECT_TRUE(port.receive_break());
    EXPECT_EQ(in(line_status)&0x90, 0x80) << "an error stands in the FIFO, not at its head";
    EXPECT_EQ(in(buffer), 'a');
    EXPECT_EQ(in(line_status)&0x90, 0x90);
    EXPECT_EQ(in(line_status)&0x90, 0x00);
}

TEST_F(SerialPort, LoopsModemOutputsBackToItsInputs) {
    EXPECT_EQ(in(modem_status), 0xb0);
    const std::array<std::pair<unsigned, unsigned>, 4> wires{
        {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}}};
    for (const auto& [output, input] : wires) {
        out(modem_control, 0x10 | output);
        EXPECT_EQ(in(modem_status)&0xf0U, input);
    }
    out(modem_control, 0x14);
    in(modem_status);
    out(modem_control, 0x10);
    EXPECT_EQ(in(modem_status), 0x04) << "the trailing edge of ring";
    out(modem_control, 0x14);
    EXPECT_EQ(in(modem_status), 0x40) << "its leading edge is no event";
    out(modem_control, 0xff);
    EXPECT_EQ(in(modem_control), 0x1f);
}

TEST_F(SerialPort, InputWaitsWhileThePortIsLoopedBack) {
    out(modem_control, 0x10);
    EXPECT_EQ(type("x"), 0U);
    EXPECT_EQ(cable.room, 0);
    out(modem_control, 0x00);
    EXPECT_EQ(cable.room, 1);
    EXPECT_EQ(type("x"), 1U);
}

TEST_F(SerialPort, TakesWhatFitsAndCallsWhenThereIsRoomAgain) {
    out(fifo_control, 0x01);
    EXPECT_EQ(type("0123456789abcdefXYZ"), 16U);
    EXPECT_EQ(type("X"), 0U);
    EXPECT_EQ(cable.room, 0);
    EXPECT_EQ(read_all(), "0123456789abcdef");
    EXPECT_EQ(cable.room, 1);
    EXPECT_EQ(type("XYZ"), 3U);
    EXPECT_EQ(read_all(), "XYZ");
    EXPECT_EQ(cable.room, 1) << "nothing was refused since";
}

TEST_F(SerialPort, WithoutFifosItTakesOneByteAtATime) {
    EXPECT_EQ(type("ab"), 1U);
    EXPECT_EQ(in(buffer), 'a');
    EXPECT_EQ(cable.room, 1);
}

TEST_F(SerialPort, ClearingTheFifoDropsItsInputAndMakesRoom) {
    out(fifo_control, 0x01);
    out(interrupt_enable, 0x01);
    type("0123456789abcdef!");
    out(fifo_control, 0x03);
    EXPECT_EQ(in(line_status), 0x60);
    EXPECT_FALSE(line.high);
    EXPECT_EQ(cable.room, 1);
    type("a");
    out(fifo_control, 0x02);
    EXPECT_EQ(in(line_status), 0x60) << "disabling the FIFOs clears them too";
    EXPECT_EQ(in(ident), 0x01);
}

TEST_F(SerialPort, ASlowReaderHoldsTheGuest) {
    out(interrupt_enable, 0x02);
    in(ident);
    cable.ready = false;
    out(buffer, 'a');
    EXPECT_EQ(in(line_status)&0x60, 0);
    EXPECT_FALSE(line.high);
    out(interrupt_enable, 0x00);
    out(interrupt_enable, 0x02);
    EXPECT_FALSE(line.high) << "the transmitter is not empty";
    cable.ready = true;
    port.transmit_ready();
    EXPECT_EQ(in(line_status)&0x60, 0x60);
    EXPECT_TRUE(line.high);
    EXPECT_EQ(in(ident), 0x02);
    port.transmit_ready();
    EXPECT_FALSE(line.high) << "nothing was held";
    EXPECT_EQ(cable.text, "a");
}

TEST_F(SerialPort, ADriverThatIgnoresTheHoldLosesNothing) {
    cable.ready = false;
    out(buffer, 'a');
    out(buffer, 'b');
    cable.ready = true;
    out(buffer, 'c');
    EXPECT_EQ(in(line_status)&0x60, 0x60) << "the peer takes bytes again";
    EXPECT_EQ(cable.text, "abc");
}

TEST_F(SerialPort, AWideAccessReachesConsecutivePorts) {
    std::array<std::byte, 8> bytes{};
    port.read(0, bytes);
    EXPECT_EQ(std::to_integer<int>(bytes[2]), 0x01);
    EXPECT_EQ(std::to_integer<int>(bytes[5]), 0x60);
    bytes = {std::byte{'w'},  std::byte{0x0f}, std::byte{0x01}, std::byte{0x03},
             std::byte{0x03}, std::byte{0xff}, std::byte{0xff}, std::byte{0x77}};
    port.write(0, bytes);
    EXPECT_EQ(cable.text, "w");
    EXPECT_EQ(in(line_control), 0x03);
    EXPECT_EQ(in(scratch), 0x77);
    bytes.fill(std::byte{0});
    port.read(6, bytes);
    EXPECT_EQ(std::to_integer<int>(bytes[1]), 0x77);
    EXPECT_EQ(std::to_integer<int>(bytes[2]), 0xff) << "past the last port";
    port.write(7, bytes);
    port.write(~0ULL, bytes);
    EXPECT_EQ(in(line_status), 0x60);
}

TEST_F(SerialPort, StateSurvivesTheMoveToAnotherPort) {
    out(line_control, 0x83);
    out(buffer, 0x01);
    out(line_control, 0x03);
    out(fifo_control, 0x41);
    out(modem_control, 0x0b);
    out(interrupt_enable, 0x05);
    out(scratch, 0x42);
    type("hey");
    port.receive_break();
    const Serial::State state = port.save();

    UartLine other_line;
    Cable other_cable;
    Serial other(other_line, other_cable);
    other.load(state);
    EXPECT_EQ(other.save(), state);
    EXPECT_TRUE(other_line.high);
    std::byte byte{};
    other.read(buffer, {&byte, 1});
    EXPECT_EQ(std::to_integer<char>(byte), 'h');
}

TEST_F(SerialPort, AHeldGuestIsToldAfterTheMove) {
    out(interrupt_enable, 0x02);
    cable.ready = false;
    out(buffer, 'a');
    EXPECT_FALSE(line.high);
    UartLine other_line;
    Cable other_cable;
    Serial other(other_line, other_cable);
    other.load(port.save());
    EXPECT_TRUE(other_line.high);
}

TEST_F(SerialPort, RefusesAStateItDoesNotKnow) {
    Serial::State state = port.save();
    state.version = 2;
    EXPECT_THROW(port.load(state), Error);
    state = port.save();
    state.received = 17;
    EXPECT_THROW(port.load(state), Error);
}

TEST_F(SerialPort, ResetIsAsPowerOn) {
    out(interrupt_enable, 0x03);
    type("x");
    EXPECT_TRUE(line.high);
    port.reset();
    EXPECT_FALSE(line.high);
    EXPECT_EQ(port.save(), Serial::State{});
}

// Run it under ThreadSanitizer: a vCPU that echoes against the main thread that types.
TEST_F(SerialPort, TwoThreadsLoseAndRepeatNothing) {
    out(fifo_control, 0x01);
    out(interrupt_enable, 0x03);
    constexpr std::size_t count = 2'000;
    std::string typed;
    for (std::size_t i = 0; i < count; ++i) typed.push_back(static_cast<char>('a' + i % 26));
    std::thread guest([&] {
        for (std::size_t seen = 0; seen < count;) {
            if ((in(line_status)&0x01) == 0) {
                std::this_thread::yield();
                continue;
            }
            out(buffer, in(buffer));
            in(ident);
            ++seen;
        }
    });
    for (std::size_t sent = 0; sent < count;) {
        const std::size_t taken = type(std::string_view(typed).substr(sent, 7));
        port.transmit_ready();
        if (taken == 0) std::this_thread::yield();
        sent += taken;
    }
    guest.join();
    EXPECT_EQ(cable.text, typed);
}

}  // namespace
}  // namespace viaduct::devices
