#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "base/fd.hpp"
#include "devices/serial.hpp"
#include "vmm/console/output.hpp"

namespace viaduct::console {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// A pipe whose writing end is an Output's; nobody reads it unless told to.
struct SerialOutput : testing::Test {
    SerialOutput() {
        ::signal(SIGPIPE, SIG_IGN);
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
        reader = Fd(ends[0]);
        writer.assign(ends[1]);
        ::fcntl(reader.get(), F_SETFL, O_NONBLOCK);
        never_block(true);
    }
    void never_block(bool on) { ::fcntl(writer.native_handle(), F_SETFL, on ? O_NONBLOCK : 0); }

    /// Transmits as a driver that does not look whether it may; false when it was ever told to
    /// wait.
    bool transmit(std::size_t count) {
        bool ready = true;
        for (std::size_t i = 0; i < count; ++i) {
            const char c = static_cast<char>('!' + sent.size() % 94);
            sent.push_back(c);
            ready &= output.transmit(static_cast<std::byte>(c));
        }
        return ready;
    }
    void read_available() {
        std::array<char, 16384> bytes{};
        while (true) {
            const ssize_t size = ::read(reader.get(), bytes.data(), bytes.size());
            if (size <= 0) return;
            received.append(bytes.data(), static_cast<std::size_t>(size));
        }
    }
    void read_until(std::size_t count) {
        const auto end = Clock::now() + 20s;
        while (received.size() < count && Clock::now() < end) {
            read_available();
            io.restart();
            io.run_one_for(1ms);
        }
        read_available();
    }

    boost::asio::io_context io;
    Fd reader;
    boost::asio::posix::stream_descriptor writer{io};
    std::string sent;
    std::string received;
    std::atomic<int> readies = 0;
    Output output{io, "the test", Output::Reader::fixed, [this] { ++readies; }};
};

TEST_F(SerialOutput, ReachesTheReaderAtOnceOnTheTransmittersThread) {
    output.connect(writer);
    EXPECT_TRUE(transmit(5));
    read_available();
    EXPECT_EQ(received, sent);
    EXPECT_EQ(output.kept(), 0U);
}

TEST_F(SerialOutput, AFullPipeHoldsTheGuestAndLosesNothing) {
    output.connect(writer);
    const auto start = Clock::now();
    EXPECT_FALSE(transmit(400'000));
    EXPECT_LT(Clock::now() - start, 10s) << "it blocked";
    EXPECT_GT(output.kept(), Output::hold_at);
    EXPECT_EQ(readies, 0);
    read_until(sent.size());
    EXPECT_EQ(received, sent);
    EXPECT_EQ(readies, 1);
    EXPECT_EQ(output.lost(), 0U);
    EXPECT_TRUE(transmit(100));
    read_available();
    EXPECT_EQ(received, sent);
}

TEST_F(SerialOutput, ADescriptorThatWouldBlockIsAskedFirst) {
    never_block(false);
    output.connect(writer);
    transmit(200'000);
    EXPECT_GT(output.kept(), 0U);
    read_until(sent.size());
    EXPECT_EQ(received, sent);
    EXPECT_EQ(output.lost(), 0U);
}

TEST_F(SerialOutput, BeyondTheLimitTheNewestAreLostAndCounted) {
    output.connect(writer);
    transmit(Output::limit + 200'000);
    EXPECT_EQ(output.kept(), Output::limit);
    EXPECT_GT(output.lost(), 0U);
    const std::size_t kept = sent.size() - output.lost();
    read_until(kept);
    EXPECT_EQ(received, sent.substr(0, kept));
}

TEST_F(SerialOutput, AReaderThatIsGoneIsCountedAndHoldsNobody) {
    output.connect(writer);
    reader.reset();
    EXPECT_TRUE(transmit(1000));
    EXPECT_EQ(output.lost(), 1000U);
    EXPECT_EQ(output.kept(), 0U);
}

TEST_F(SerialOutput, AtTheEndASlowReaderGetsEverything) {
    output.connect(writer);
    transmit(300'000);
    std::thread slow([this] {
        const auto end = Clock::now() + 20s;
        while (received.size() < sent.size() && Clock::now() < end) {
            std::this_thread::sleep_for(2ms);
            read_available();
        }
    });
    output.drain(5s);
    slow.join();
    EXPECT_EQ(received, sent);
    EXPECT_EQ(output.lost(), 0U);
}

TEST_F(SerialOutput, AtTheEndAReaderThatTakesNothingIsLeft) {
    output.connect(writer);
    transmit(100'000);
    const std::size_t kept = output.kept();
    EXPECT_GT(kept, 0U);
    const auto start = Clock::now();
    output.drain(50ms);
    EXPECT_LT(Clock::now() - start, 5s);
    EXPECT_EQ(output.lost(), kept);
}

struct OutputOfAComingReader : SerialOutput {
    Output coming{io, "the test", Output::Reader::comes_and_goes, [this] { ++readies; }};

    bool transmit_coming(std::size_t count) {
        bool ready = true;
        for (std::size_t i = 0; i < count; ++i) {
            const char c = static_cast<char>('!' + sent.size() % 94);
            sent.push_back(c);
            ready &= coming.transmit(static_cast<std::byte>(c));
        }
        return ready;
    }
};

TEST_F(OutputOfAComingReader, TheNewestWaitForIt) {
    EXPECT_TRUE(transmit_coming(Output::hold_at + 1000)) << "nobody is there: nobody waits";
    EXPECT_EQ(coming.lost(), 1000U);
    coming.connect(writer);
    read_until(Output::hold_at);
    EXPECT_EQ(received, sent.substr(1000));
}

TEST_F(OutputOfAComingReader, TheGuestGoesOnWhenTheReaderLeaves) {
    coming.connect(writer);
    EXPECT_FALSE(transmit_coming(300'000));
    coming.disconnect();
    EXPECT_EQ(readies, 1);
    EXPECT_EQ(coming.kept(), Output::hold_at);
    EXPECT_TRUE(transmit_coming(1));
}

TEST_F(OutputOfAComingReader, WhatFailsToReachItWaitsForTheNext) {
    coming.connect(writer);
    reader.reset();
    EXPECT_TRUE(transmit_coming(10));
    EXPECT_EQ(coming.kept(), 10U);
    EXPECT_EQ(coming.lost(), 0U);
    EXPECT_TRUE(transmit_coming(2 * Output::hold_at)) << "the guest waits for nobody";
}

/// A guest that sends as Linux does: only while the transmitter is empty. Run it under
/// ThreadSanitizer.
TEST_F(SerialOutput, AGuestThatWaitsForTheTransmitterLosesNothingToASlowReader) {
    class NoLine final : public devices::InterruptLine {
        void set(bool /*asserted*/) noexcept override {}
    };
    class Cable final : public devices::Serial::Peer {
    public:
        explicit Cable(Output& to) : output_(to) {}
        bool transmit(std::byte byte) noexcept override { return output_.transmit(byte); }
        void room_for_input() noexcept override {}

    private:
        Output& output_;
    };
    devices::Serial* serial = nullptr;
    Output slow(io, "the test", Output::Reader::fixed, [&] { serial->transmit_ready(); });
    Cable cable(slow);
    NoLine line;
    devices::Serial port(line, cable);
    serial = &port;
    slow.connect(writer);
    for (std::size_t i = 0; i < 300'000; ++i) sent.push_back(static_cast<char>('!' + i % 94));

    std::atomic<std::size_t> most_kept = 0;
    std::thread guest([&] {
        const auto end = Clock::now() + 30s;
        for (const char c : sent) {
            std::byte status{};
            while (port.read(5, {&status, 1}), (status & std::byte{0x20}) == std::byte{0}) {
                if (Clock::now() > end) return;
                most_kept = std::max<std::size_t>(most_kept, slow.kept());
                std::this_thread::sleep_for(1ms);
            }
            const auto byte = static_cast<std::byte>(c);
            port.write(0, {&byte, 1});
        }
    });
    for (int i = 0; i < 20'000 && most_kept == 0; ++i) std::this_thread::sleep_for(1ms);
    read_until(sent.size());
    guest.join();
    EXPECT_EQ(received, sent);
    EXPECT_EQ(slow.lost(), 0U);
    EXPECT_EQ(most_kept, Output::hold_at) << "it was asked to wait there and did";
}

}  // namespace
}  // namespace viaduct::console
