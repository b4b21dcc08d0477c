/// Guests that put nonsense into their rings: each case has a defined result, and a reset mends it.
#include <algorithm>
#include <memory>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/log_allowance.hpp"
#include "tests/unit/soft_disk.hpp"
#include "tests/unit/soft_held_image.hpp"

namespace viaduct::soft {
namespace {

namespace flag = virtio::descriptor_flag;
using test::Buffer;
using test::Bytes;
using test::eventually;
using test::Framing;
using test::SoftDisk;
using test::TemporaryImage;

constexpr std::uint16_t ring_size = 16;
constexpr std::uint64_t nowhere = 0x10000000000;

class HostileRing : public testing::TestWithParam<bool> {
protected:
    HostileRing() { disk_.start(); }

    SoftDeviceOptions options() const {
        SoftDeviceOptions options;
        options.image = file_.path();
        options.queues = 2;
        return options;
    }
    test::RingDriver& driver() { return disk_.driver(); }
    Iova table(std::span<const virtio::Descriptor> descriptors) {
        const auto bytes = std::as_bytes(descriptors);
        return disk_.put({bytes.begin(), bytes.end()});
    }
    void make_available(std::uint16_t head = 0) {
        driver().put_available(head);
        driver().publish();
        driver().kick();
    }

    /// The queue has stopped, the guest is told, the other queue works, and a reset mends it all.
    void expect_needs_reset() {
        ASSERT_TRUE(eventually(
            [&] { return (disk_.device().status() & virtio::status::needs_reset) != 0; }));
        EXPECT_TRUE(eventually([&] { return disk_.config_call().take(); }));
        EXPECT_EQ(disk_.device().counters(0).ring_faults.load(), 1U);
        EXPECT_EQ(disk_.run(1, VIRTIO_BLK_T_FLUSH, 0, Iova{}, 0), VIRTIO_BLK_S_OK);
        disk_.device().reset();
        EXPECT_EQ(disk_.device().status(), 0);
        driver().start_at({});
        disk_.driver(1).start_at({});
        disk_.start();
        EXPECT_EQ(disk_.run(0, VIRTIO_BLK_T_FLUSH, 0, Iova{}, 0), VIRTIO_BLK_S_OK);
        EXPECT_FALSE(disk_.config_call().pending());
    }

    TemporaryImage file_{"/dev/shm"};
    SoftDisk disk_{options(), ring_size, GetParam()};
    Iova buffer_ = disk_.memory().allocate(4096);
    Iova header_ = disk_.put_header(VIRTIO_BLK_T_IN, 0);
};

INSTANTIATE_TEST_SUITE_P(WithAndWithoutEventIdx, HostileRing, testing::Bool());

TEST_P(HostileRing, AvailIndexThatJumpsFurtherThanTheRing) {
    driver().ring().avail_idx().store(ring_size + 1);
    driver().kick();
    expect_needs_reset();
}

TEST_P(HostileRing, AvailIndexThatGoesBack) {
    ASSERT_EQ(disk_.flush(), VIRTIO_BLK_S_OK);
    driver().ring().avail_idx().store(0);
    driver().kick();
    expect_needs_reset();
}

TEST_P(HostileRing, HeadOutsideTheTable) {
    make_available(ring_size);
    expect_needs_reset();
}

TEST_P(HostileRing, HeadOfAllOnes) {
    make_available(65535);
    expect_needs_reset();
}

TEST_P(HostileRing, NextOutsideTheTable) {
    driver().set_descriptor(0, {header_, 16, flag::next, ring_size});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, ChainThatLoops) {
    driver().set_descriptor(0, {header_, 16, flag::next, 1});
    driver().set_descriptor(1, {header_, 16, flag::next, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, IndirectTableOfBadLength) {
    driver().set_descriptor(0, {buffer_, 24, flag::indirect, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, IndirectTableOutsideMemory) {
    driver().set_descriptor(0, {Iova{nowhere}, 32, flag::indirect, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, IndirectTableInAnIndirectTable) {
    const Iova inner = table(std::array{virtio::Descriptor{buffer_, 1, flag::write, 0}});
    const Iova outer = table(std::array{virtio::Descriptor{inner, 16, flag::indirect, 0}});
    driver().set_descriptor(0, {outer, 16, flag::indirect, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, RequestWithoutAByteForItsStatus) {
    driver().set_descriptor(0, {header_, 16, 0, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, StatusOutsideMemory) {
    driver().set_descriptor(0, {header_, 16, flag::next, 1});
    driver().set_descriptor(1, {Iova{nowhere}, 1, flag::write, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, StatusOfNoLength) {
    driver().set_descriptor(0, {header_, 16, flag::next, 1});
    driver().set_descriptor(1, {buffer_, 0, flag::write, 0});
    make_available();
    expect_needs_reset();
}

TEST_P(HostileRing, ChainLongerThanTheRingAndTheDeviceAllow) {
    std::vector<Buffer> buffers(most_segments + 2, {buffer_, 16, false});
    buffers.push_back({disk_.put_status(), 1, true});
    driver().add_indirect(buffers);
    driver().publish_and_kick();
    expect_needs_reset();
}

TEST_P(HostileRing, WhatCameBeforeTheNonsenseIsAnswered) {
    const auto good = disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
    driver().put_available(999);
    driver().publish();
    driver().kick();
    ASSERT_TRUE(driver().wait_used());
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(good.status), VIRTIO_BLK_S_OK);
    expect_needs_reset();
}

/// Requests whose ring is in order but whose buffers are not: answered with an error.
class HostileRequest : public HostileRing {
protected:
    void expect_io_error(const std::vector<Buffer>& buffers, Framing framing = Framing::plain) {
        const Iova status = disk_.put_status();
        std::vector<Buffer> all = buffers;
        all.push_back({status, 1, true});
        const auto head =
            framing == Framing::plain ? driver().add(all) : driver().add_indirect(all);
        EXPECT_EQ(disk_.finish(0, {head, Iova{}, 0, status}), VIRTIO_BLK_S_IOERR);
        EXPECT_EQ(disk_.device().status() & virtio::status::needs_reset, 0);
        EXPECT_EQ(disk_.flush(), VIRTIO_BLK_S_OK);
    }
};

INSTANTIATE_TEST_SUITE_P(WithAndWithoutEventIdx, HostileRequest, testing::Bool());

TEST_P(HostileRequest, WithoutAHeader) {
    expect_io_error({});
}

TEST_P(HostileRequest, WithAShortHeader) {
    expect_io_error({{header_, 15, false}});
}

TEST_P(HostileRequest, WithAHeaderOutsideMemory) {
    expect_io_error({{Iova{nowhere}, 16, false}});
}

TEST_P(HostileRequest, WithContentOutsideMemory) {
    expect_io_error({{header_, 16, false}, {Iova{nowhere}, 512, true}});
}

TEST_P(HostileRequest, WithContentThatRunsOutOfMemory) {
    const Iova last{disk_.memory().end().value - 256};
    expect_io_error({{header_, 16, false}, {last, 512, true}});
}

TEST_P(HostileRequest, WithContentThatWrapsTheAddressSpace) {
    expect_io_error({{header_, 16, false}, {Iova{~std::uint64_t{0} - 100}, 512, true}});
    expect_io_error({{header_, 16, false}, {buffer_, 0xffffffff, true}});
}

TEST_P(HostileRequest, WithContentOfNoLength) {
    expect_io_error({{header_, 16, false}, {buffer_, 0, true}, {buffer_, 512, true}});
}

TEST(HostileRings, BrokenAgainAndAgainDoNotFillTheLog) {
    testing::internal::CaptureStderr();
    {
        const TemporaryImage file("/dev/shm");
        SoftDeviceOptions options;
        options.image = file.path();
        options.log = std::make_shared<LogAllowance>("disk");
        std::optional<SoftDisk> disk;
        for (int i = 0; i < 30; ++i) {
            if (i % 10 == 0) {  // as after a failure
                disk.reset();
                disk.emplace(options, ring_size);
            }
            disk->start();
            disk->driver().put_available(ring_size);
            disk->driver().publish_and_kick();
            ASSERT_TRUE(eventually(
                [&] { return (disk->device().status() & virtio::status::needs_reset) != 0; }));
            disk->device().reset();
            disk->driver().start_at({});
        }
    }
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 11) << log;
    EXPECT_THAT(log, testing::HasSubstr("queue 0: "));
    EXPECT_THAT(log, testing::EndsWith("disk: lines left out: 20\n"));
}

TEST(HostileRequests, WithMoreBuffersThanTheDeviceSaidOnARingThatIsLongEnough) {
    const TemporaryImage file("/dev/shm");
    SoftDeviceOptions options;
    options.image = file.path();
    SoftDisk disk(options, 256);
    disk.start();
    const Iova buffer = disk.memory().allocate(std::size_t{127} * 512);
    EXPECT_EQ(disk.run(0, VIRTIO_BLK_T_IN, 0, buffer, std::size_t{126} * 512, Framing::plain, 126),
              VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk.run(0, VIRTIO_BLK_T_IN, 0, buffer, std::size_t{127} * 512, Framing::plain, 127),
              VIRTIO_BLK_S_IOERR);
}

class HeldRing : public testing::Test {
protected:
    HeldRing() { disk_.start(); }

    test::HeldImage::Gate gate_;
    SoftDisk disk_{
        std::make_unique<SoftDevice>(std::make_unique<test::HeldImage>(gate_), SoftDeviceOptions{}),
        ring_size};
    Iova buffer_ = disk_.memory().allocate(4096);
};

TEST(HostileRequests, ThatWriteToAReadOnlyDiskNeverReachTheImage) {
    test::HeldImage::Gate gate;
    SoftDisk disk(std::make_unique<SoftDevice>(std::make_unique<test::HeldImage>(gate, true),
                                               SoftDeviceOptions{}));
    disk.start();
    gate.release(Bytes(4096));
    EXPECT_EQ(disk.write(0, Bytes(512)), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(disk.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{0, 8, 0}}), VIRTIO_BLK_S_UNSUPP);
    const Iova buffer = disk.memory().allocate(512);
    EXPECT_EQ(disk.run(0, VIRTIO_BLK_T_IN, 0, buffer, 512), VIRTIO_BLK_S_OK);
}

TEST_F(HeldRing, AHeadThatIsInFlightIsNotTakenTwice) {
    const auto request = disk_.post(0, VIRTIO_BLK_T_IN, 0, buffer_, 512);
    disk_.driver().put_available(request.head);
    disk_.driver().publish_and_kick();
    EXPECT_TRUE(
        eventually([&] { return (disk_.device().status() & virtio::status::needs_reset) != 0; }));
    gate_.release(Bytes(512, std::byte{1}));
    EXPECT_TRUE(disk_.driver().wait_used()) << "the first one is answered all the same";
    EXPECT_FALSE(disk_.driver().take_used());
    EXPECT_EQ(disk_.device().counters(0).requests.load(), 1U);
}

TEST_F(HeldRing, AnIndirectTableRewrittenAfterSubmissionChangesNothing) {
    const Iova innocent = disk_.put(Bytes(512, std::byte{0xcc}));
    const Iova status = disk_.put_status();
    const Iova rogue_status = disk_.put_status();
    const Iova table = disk_.memory().allocate(std::size_t{3} * 16, 16);
    const auto write_table = [&](Iova content, Iova status_at) {
        disk_.memory().store(
            table, virtio::Descriptor{disk_.put_header(VIRTIO_BLK_T_IN, 0), 16, flag::next, 1});
        disk_.memory().store(table + 16,
                             virtio::Descriptor{content, 512, flag::next | flag::write, 2});
        disk_.memory().store(table + 32, virtio::Descriptor{status_at, 1, flag::write, 0});
    };
    write_table(buffer_, status);
    disk_.driver().set_descriptor(3, {table, 48, flag::indirect, 0});
    disk_.driver().put_available(3);
    disk_.driver().publish_and_kick();
    ASSERT_TRUE(eventually([&] { return disk_.device().counters(0).requests.load() == 1; }));
    write_table(innocent, rogue_status);
    gate_.release(Bytes(512, std::byte{0x77}));
    ASSERT_TRUE(disk_.driver().wait_used());
    EXPECT_EQ(disk_.get(buffer_, 512), Bytes(512, std::byte{0x77}));
    EXPECT_EQ(disk_.get(innocent, 512), Bytes(512, std::byte{0xcc}));
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(status), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk_.memory().load<std::uint8_t>(rogue_status), 0xee);
}

}  // namespace
}  // namespace viaduct::soft
