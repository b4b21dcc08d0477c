/// Requests through real rings, eventfds and files: on a tmpfs and, with O_DIRECT, on a disk; with
/// and without the event index.
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::Framing;
using test::random_bytes;
using test::sector;
using test::SoftDisk;
using test::TemporaryImage;

constexpr std::uint8_t ok = VIRTIO_BLK_S_OK;
constexpr std::uint8_t io_error = VIRTIO_BLK_S_IOERR;
constexpr std::uint8_t unsupported = VIRTIO_BLK_S_UNSUPP;

struct Place {
    const char* folder;
    DirectIo direct;
    bool event_idx;
    const char* name;
    bool pin_memory = false;
};

class SoftIo : public testing::TestWithParam<Place> {
protected:
    SoftDeviceOptions options(unsigned queues = 1) const {
        SoftDeviceOptions options;
        options.image = file_.path();
        options.direct = GetParam().direct;
        options.queues = queues;
        options.serial = "viaduct-0001";
        options.pin_memory = GetParam().pin_memory;
        return options;
    }

    TemporaryImage file_{GetParam().folder};
    SoftDisk disk_{options(), 64, GetParam().event_idx};
};

INSTANTIATE_TEST_SUITE_P(
    Places, SoftIo,
    testing::Values(Place{"/dev/shm", DirectIo::off, true, "TmpfsWithEventIdx"},
                    Place{"/dev/shm", DirectIo::automatic, false, "TmpfsWithoutEventIdx"},
                    Place{"/var/tmp", DirectIo::on, true, "DirectDiskWithEventIdx"},
                    Place{"/var/tmp", DirectIo::on, false, "DirectDiskWithoutEventIdx"},
                    Place{"/var/tmp", DirectIo::off, true, "BufferedDiskWithEventIdx"},
                    Place{"/var/tmp", DirectIo::on, true, "DirectDiskWithPinnedMemory", true},
                    Place{"/dev/shm", DirectIo::off, true, "TmpfsWithPinnedMemory", true}),
    [](const auto& place) { return std::string(place.param.name); });

TEST_P(SoftIo, ReadsWhatTheImageHolds) {
    const Bytes content = random_bytes(std::size_t{3} * 4096, 1);
    file_.write(8192, content);
    disk_.start();
    const Iova buffer = disk_.memory().allocate(content.size());
    ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 16, buffer, content.size()), ok);
    EXPECT_EQ(disk_.get(buffer, content.size()), content);
    EXPECT_EQ(disk_.used_length(), content.size() + 1);
}

TEST_P(SoftIo, WritesWhatTheGuestHolds) {
    const Bytes content = random_bytes(std::size_t{4} * 4096, 2);
    disk_.start();
    ASSERT_EQ(disk_.write(24, content), ok);
    EXPECT_EQ(disk_.used_length(), 1U);
    ASSERT_EQ(disk_.flush(), ok);
    EXPECT_EQ(file_.read(24 * sector, content.size()), content);
}

TEST_P(SoftIo, TakesSingleSectorsAndBuffersThatAreAlignedToNothing) {
    disk_.start();
    const Bytes content = random_bytes(5 * sector, 3);
    const Iova odd = disk_.memory().allocate(content.size() + 3) + 3;
    std::copy(content.begin(), content.end(), disk_.memory().at(odd, content.size()).begin());
    ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_OUT, 7, odd, content.size()), ok);
    EXPECT_EQ(file_.read(7 * sector, content.size()), content);
    const Iova back = disk_.memory().allocate(content.size() + 1) + 1;
    ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 7, back, content.size()), ok);
    EXPECT_EQ(disk_.get(back, content.size()), content);
}

TEST_P(SoftIo, TakesManyPiecesDirectAndIndirect) {
    disk_.start();
    const Bytes content = random_bytes(100 * sector, 4);
    for (const std::size_t pieces : {2U, 7U, 40U, 126U}) {
        const Framing framing = pieces > 50 ? Framing::indirect : Framing::plain;
        ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_OUT, 100, disk_.put(content), content.size(), framing,
                            pieces),
                  ok);
        const Iova back = disk_.memory().allocate(content.size());
        ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 100, back, content.size(), framing, pieces), ok);
        EXPECT_EQ(disk_.get(back, content.size()), content) << pieces;
    }
}

TEST_P(SoftIo, DoesNotMindHowARequestIsFramed) {
    disk_.start();
    const Bytes content = random_bytes(sector, 5);
    // Header and data in one buffer, then the header in two.
    Bytes message(16);
    const virtio_blk_outhdr header{VIRTIO_BLK_T_OUT, 0, 9};
    std::memcpy(message.data(), &header, sizeof header);
    message.insert(message.end(), content.begin(), content.end());
    const Iova at = disk_.put(message);
    const auto length = static_cast<std::uint32_t>(message.size());
    for (const std::uint32_t cut : {0U, 5U, 16U, 200U}) {
        std::vector<test::Buffer> buffers;
        if (cut != 0) buffers.push_back({at, cut, false});
        buffers.push_back({at + cut, length - cut, false});
        const Iova status = disk_.put_status();
        buffers.push_back({status, 1, true});
        const auto head = disk_.driver().add(buffers);
        EXPECT_EQ(disk_.finish(0, {head, at, 0, status}), ok) << cut;
    }
    EXPECT_EQ(file_.read(9 * sector, sector), content);
    // Data and status in one buffer.
    const Iova target = disk_.memory().allocate(sector + 1);
    const auto head =
        disk_.driver().add(std::array{test::Buffer{disk_.put_header(VIRTIO_BLK_T_IN, 9), 16, false},
                                      test::Buffer{target, sector + 1, true}});
    EXPECT_EQ(disk_.finish(0, {head, target, sector, target + sector}), ok);
    EXPECT_EQ(disk_.get(target, sector), content);
}

TEST_P(SoftIo, ContinuesAcrossTheWrapOfTheRingIndex) {
    disk_.driver().start_at(virtio::RingIndex(65500));
    disk_.start(virtio::RingIndex(65500));
    const Bytes content = random_bytes(4096, 6);
    file_.write(0, content);
    const Iova buffer = disk_.memory().allocate(4096);
    for (unsigned i = 0; i < 100; ++i) {
        ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 0, buffer, 4096), ok) << i;
    }
    EXPECT_EQ(disk_.get(buffer, 4096), content);
    disk_.device().suspend();
    EXPECT_EQ(disk_.device().ring_state(0), vdpa::RingState{vdpa::SplitRingState{64}});
    EXPECT_EQ(disk_.driver().ring().used_idx().load(), 64);
}

TEST_P(SoftIo, RefusesWhatLiesBeyondTheDiskOrIsNoWholeSector) {
    disk_.start();
    const std::uint64_t sectors = (8U << 20) / sector;
    const Iova buffer = disk_.memory().allocate(8192);
    for (const unsigned type : {unsigned{VIRTIO_BLK_T_IN}, unsigned{VIRTIO_BLK_T_OUT}}) {
        EXPECT_EQ(disk_.run(0, type, sectors - 1, buffer, sector), ok);
        EXPECT_EQ(disk_.run(0, type, sectors, buffer, sector), io_error);
        EXPECT_EQ(disk_.run(0, type, sectors - 1, buffer, 2 * sector), io_error);
        EXPECT_EQ(disk_.run(0, type, ~std::uint64_t{0}, buffer, sector), io_error);
        EXPECT_EQ(disk_.run(0, type, std::uint64_t{1} << 55, buffer, sector), io_error);
        EXPECT_EQ(disk_.run(0, type, 0, buffer, 100), io_error);
        EXPECT_EQ(disk_.run(0, type, 0, buffer, 513), io_error);
    }
    EXPECT_EQ(disk_.device().counters(0).failed.load(), 12U);
    EXPECT_EQ(file_.read(0, 1).size(), 1U);
}

TEST_P(SoftIo, TellsItsSerialNumber) {
    disk_.start();
    const Iova buffer = disk_.put(random_bytes(32, 7));
    ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_GET_ID, 0, buffer, 20), ok);
    EXPECT_EQ(disk_.used_length(), 21U);
    const Bytes id = disk_.get(buffer, 20);
    EXPECT_STREQ(reinterpret_cast<const char*>(id.data()), "viaduct-0001");
    EXPECT_EQ(id[19], std::byte{0});
}

TEST_P(SoftIo, DoesNotKnowOtherTypes) {
    disk_.start();
    const Iova buffer = disk_.memory().allocate(sector);
    for (const std::uint32_t type : {2U, 5U, 12U, 99U, 0x80000000U, 0xffffffffU}) {
        EXPECT_EQ(disk_.run(0, type, 0, buffer, sector), unsupported) << type;
    }
}

TEST_P(SoftIo, DiscardsSeveralRangesAndNothingElse) {
    file_.write(0, Bytes(1 << 20, std::byte{0xaa}));
    disk_.start();
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_DISCARD, {{8, 8, 0}, {64, 16, 0}, {100, 0, 0}}), ok);
    EXPECT_EQ(file_.read(0, 4096), Bytes(4096, std::byte{0xaa}));
    EXPECT_EQ(file_.read(4096, 4096), Bytes(4096));
    EXPECT_EQ(file_.read(8192, 24576), Bytes(24576, std::byte{0xaa}));
    EXPECT_EQ(file_.read(32768, 8192), Bytes(8192));
    EXPECT_EQ(file_.read(40960, 4096), Bytes(4096, std::byte{0xaa}));
}

TEST_P(SoftIo, WritesZeroesWithAndWithoutUnmap) {
    file_.write(0, Bytes(4 << 20, std::byte{0xaa}));
    disk_.start();
    // Odd sectors, and more than one request's worth of zeros to be written.
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{3, 5, 0}, {1001, 3001, 0}}), ok);
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{5001, 301, 1}}), ok);
    Bytes expected(4 << 20, std::byte{0xaa});
    for (const auto& [first, count] : {std::pair{3L, 5L}, {1001L, 3001L}, {5001L, 301L}}) {
        std::fill_n(expected.begin() + first * 512, count * 512, std::byte{0});
    }
    EXPECT_EQ(file_.read(0, expected.size()), expected);
}

TEST_P(SoftIo, JudgesTheFlagsAndLimitsOfRanges) {
    file_.write(0, Bytes(1 << 20, std::byte{0xaa}));
    disk_.start();
    constexpr std::uint32_t sectors = (8U << 20) / sector;
    const auto discard = [&](auto ranges) { return disk_.clear(VIRTIO_BLK_T_DISCARD, ranges); };
    const auto zero = [&](auto ranges) { return disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, ranges); };
    using Ranges = std::vector<virtio_blk_discard_write_zeroes>;
    EXPECT_EQ(discard(Ranges{{0, 8, 1}}), unsupported);
    EXPECT_EQ(discard(Ranges{{0, 8, 2}}), unsupported);
    EXPECT_EQ(zero(Ranges{{0, 8, 2}}), unsupported);
    EXPECT_EQ(zero(Ranges{{0, 8, 0x80000001}}), unsupported);
    EXPECT_EQ(discard(Ranges{{sectors, 1, 0}}), io_error);
    EXPECT_EQ(discard(Ranges{{0, sectors + 1, 0}}), io_error);
    EXPECT_EQ(zero(Ranges{{~0ULL, 8, 0}}), io_error);
    EXPECT_EQ(zero(Ranges{{0, 0xffffffff, 0}}), io_error);
    EXPECT_EQ(zero(Ranges{}), io_error);
    EXPECT_EQ(zero(Ranges(17, {0, 8, 0})), io_error);
    EXPECT_EQ(zero(Ranges{{0, 8, 0}, {0, 8, 2}}), unsupported) << "none unless all are right";
    EXPECT_EQ(file_.read(0, 4096), Bytes(4096, std::byte{0xaa}));
    EXPECT_EQ(disk_.run(0, VIRTIO_BLK_T_DISCARD, 0, disk_.put(Bytes(15)), 15), io_error);
}

TEST_P(SoftIo, RefusesDiscardAndZeroesThatWereNotNegotiated) {
    disk_.start_without(VIRTIO_BLK_F_DISCARD);
    EXPECT_EQ(disk_.clear(VIRTIO_BLK_T_DISCARD, {{0, 8, 0}}), unsupported);
    EXPECT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{0, 8, 0}}), ok);
}

TEST_P(SoftIo, WritesThroughForADriverThatCannotFlush) {
    disk_.start_without(VIRTIO_BLK_F_FLUSH);
    const Bytes content = random_bytes(3 * sector, 8);
    EXPECT_EQ(disk_.write(11, content), ok);
    EXPECT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{0, 8, 1}}), ok);
    EXPECT_EQ(file_.read(11 * sector, content.size()), content);
}

TEST_P(SoftIo, TakesABatchWithOneKick) {
    disk_.start();
    ASSERT_EQ(disk_.flush(), ok);
    ASSERT_TRUE(test::eventually([&] { return disk_.driver().kick_is_wanted(); }));
    const std::uint64_t kicks = disk_.device().counters(0).kicks.load();
    const Bytes content = random_bytes(std::size_t{20} * 4096, 9);
    std::vector<test::PostedRequest> requests;
    for (long i = 0; i < 20; ++i) {
        const Bytes piece(content.begin() + i * 4096, content.begin() + (i + 1) * 4096);
        const auto first_sector = static_cast<std::uint64_t>(i) * 8;
        requests.push_back(disk_.post(0, VIRTIO_BLK_T_OUT, first_sector, disk_.put(piece), 4096));
    }
    disk_.driver().publish_and_kick();
    for (unsigned i = 0; i < 20; ++i) ASSERT_TRUE(disk_.driver().wait_used());
    for (const auto& request : requests) {
        EXPECT_EQ(disk_.memory().load<std::uint8_t>(request.status), ok);
    }
    EXPECT_EQ(file_.read(0, content.size()), content);
    EXPECT_EQ(disk_.device().counters(0).kicks.load(), kicks + 1);
}

/// Writes, reads back and compares for a while, with requests in flight at every depth.
void write_and_verify(SoftDisk& disk, unsigned queue, std::uint64_t first, unsigned rounds) {
    constexpr unsigned depth = 8;
    constexpr std::size_t length = 4096;
    std::vector<Iova> buffers;
    for (unsigned i = 0; i < depth; ++i) buffers.push_back(disk.memory().allocate(length));
    const auto run_all = [&](std::uint32_t type) {
        std::vector<test::PostedRequest> requests;
        for (unsigned i = 0; i < depth; ++i) {
            requests.push_back(
                disk.post(queue, type, first + std::uint64_t{i} * 8, buffers[i], length));
            disk.driver(queue).publish_and_kick();
        }
        for (unsigned i = 0; i < depth; ++i) ASSERT_TRUE(disk.driver(queue).wait_used());
        for (const auto& request : requests) {
            ASSERT_EQ(disk.memory().load<std::uint8_t>(request.status), ok);
        }
    };
    for (unsigned round = 0; round < rounds; ++round) {
        std::vector<Bytes> written;
        for (unsigned i = 0; i < depth; ++i) {
            written.push_back(random_bytes(length, 1000 * queue + 10 * round + i));
            std::copy(written[i].begin(), written[i].end(),
                      disk.memory().at(buffers[i], length).begin());
        }
        run_all(VIRTIO_BLK_T_OUT);
        for (const Iova buffer : buffers) {
            const auto bytes = disk.memory().at(buffer, length);
            std::fill(bytes.begin(), bytes.end(), std::byte{0});
        }
        run_all(VIRTIO_BLK_T_IN);
        for (unsigned i = 0; i < depth; ++i) ASSERT_EQ(disk.get(buffers[i], length), written[i]);
    }
}

TEST_P(SoftIo, TwoQueuesWorkAtTheSameTime) {
    const TemporaryImage file(GetParam().folder);
    SoftDeviceOptions two = options(2);
    two.image = file.path();
    SoftDisk disk(two, 64, GetParam().event_idx);
    disk.start();
    std::thread second([&] { write_and_verify(disk, 1, 8192, 30); });
    write_and_verify(disk, 0, 0, 30);
    second.join();
    EXPECT_EQ(disk.device().counters(0).requests.load(), 30U * 16);
    EXPECT_EQ(disk.device().counters(1).requests.load(), 30U * 16);
}

/// A disk that is to pin the driver's memory.
class PinnedMemory : public testing::Test {
protected:
    SoftDeviceOptions options() const {
        SoftDeviceOptions options;
        options.image = file_.path();
        options.queues = 2;
        options.pin_memory = true;
        return options;
    }
    /// Of this process, in KiB.
    static unsigned long pinned() {
        std::ifstream status("/proc/self/status");
        for (std::string word; status >> word;) {
            unsigned long kibibytes = 0;
            if (word == "VmPin:" && status >> kibibytes) return kibibytes;
        }
        ADD_FAILURE() << "the kernel does not tell what is pinned";
        return 0;
    }

    TemporaryImage file_{"/var/tmp"};
};

TEST_F(PinnedMemory, IsPinnedByEachQueueThatRuns) {
    SoftDisk disk(options());
    const unsigned long before = pinned();
    const unsigned long memory = disk.memory().region().bytes.size() / 1024;
    disk.start();
    EXPECT_EQ(pinned() - before, 2 * memory);
    disk.device().reset();
    EXPECT_TRUE(test::eventually([&] { return pinned() == before; }));
}

TEST_F(PinnedMemory, IsDoneWithoutWhereItCannotBe) {
    SoftDisk disk(options());
    const Bytes content = random_bytes(4096, 5);
    const Iova at = disk.put(content);
    ASSERT_EQ(::ftruncate(disk.memory().fd(), std::size_t{8} << 20), 0);
    testing::internal::CaptureStderr();
    disk.start();
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                testing::AllOf(testing::HasSubstr("pin-memory: 33554432 bytes cannot be pinned"),
                               testing::HasSubstr("going on without")));
    EXPECT_EQ(disk.run(0, VIRTIO_BLK_T_OUT, 0, at, content.size()), ok);
    EXPECT_EQ(file_.read(0, content.size()), content);
}

}  // namespace
}  // namespace viaduct::soft
