#include "vdpa/datapath/relay.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/relay_world.hpp"

namespace viaduct::test {
namespace {

using datapath::DeviceFault;
using datapath::RequestKind;
using virtio::RingFault;

/// With and without EVENT_IDX, with and without INDIRECT_DESC.
class RelayTest : public testing::TestWithParam<std::tuple<bool, bool>> {
protected:
    static RelayTerms terms() {
        return {.event_idx = std::get<0>(GetParam()), .indirect = std::get<1>(GetParam())};
    }
    /// A header, two buffers of data and a status.
    std::array<Buffer, 4> request(RelayWorld& world) {
        return {Buffer{world.buffer(16), 16, false}, Buffer{world.buffer(), 512, true},
                Buffer{world.buffer(), 512, true}, Buffer{world.buffer(1), 1, true}};
    }
};

INSTANTIATE_TEST_SUITE_P(Terms, RelayTest, testing::Combine(testing::Bool(), testing::Bool()));

TEST_P(RelayTest, HandsChainsOverAndBackAndKeepsTheirOrderAndShape) {
    RelayWorld world(terms());
    const auto buffers = request(world);
    const std::uint16_t first = world.driver.add(buffers);
    const std::uint16_t second = world.driver.add(std::array{Buffer{world.buffer(), 512, true}});
    world.driver.publish();
    EXPECT_TRUE(world.forward());
    EXPECT_TRUE(world.device_kick.take());
    const auto heads = world.take_all();
    ASSERT_EQ(heads.size(), 2U);
    const virtio::Chain& chain = world.read(heads[0]);
    ASSERT_EQ(chain.readable.size(), 1U);
    ASSERT_EQ(chain.writable.size(), 3U);
    EXPECT_EQ(chain.readable[0].address, buffers[0].address);
    EXPECT_EQ(chain.writable[2].address, buffers[3].address);
    EXPECT_EQ(chain.writable[2].length, 1U);
    world.use(heads[1], 512);
    world.use(heads[0], 1025);
    EXPECT_TRUE(world.complete());
    EXPECT_TRUE(world.guest_call.take());
    auto element = world.driver.take_used().value();
    EXPECT_EQ(element.id, second);
    EXPECT_EQ(element.length, 512U);
    element = world.driver.take_used().value();
    EXPECT_EQ(element.id, first);
    EXPECT_EQ(element.length, 1025U);
    EXPECT_FALSE(world.driver.take_used());
    EXPECT_EQ(world.relay.in_flight(), 0U);
}

TEST_P(RelayTest, GoesRoundItsRingsForEver) {
    RelayTerms start = terms();
    start.base = virtio::RingIndex(65500);
    RelayWorld world(start);
    const auto buffers = request(world);
    for (unsigned round = 0; round < 70'000; ++round) {
        world.driver.add(buffers);
        world.driver.publish();
        ASSERT_TRUE(world.forward());
        const auto heads = world.take_all();
        ASSERT_EQ(heads.size(), 1U);
        world.use(heads[0], 1);
        ASSERT_TRUE(world.complete());
        ASSERT_TRUE(world.driver.take_used());
    }
    EXPECT_EQ(world.statistics.chains.value(), 70'000U);
}

TEST_P(RelayTest, TakesAllThatFitsAndTheRestWhenThereIsRoomAgain) {
    RelayWorld world(terms());
    // Heads may be named again: the ring holds more chains than the shadow ring has room for.
    const auto buffers = request(world);
    const std::uint16_t head = world.driver.add(buffers);
    for (unsigned more = 1; more < 8; ++more) world.driver.put_available(head);
    world.driver.publish();
    EXPECT_TRUE(world.forward());
    auto heads = world.take_all();
    std::size_t total = heads.size();
    EXPECT_EQ(total, std::get<1>(GetParam()) ? 8U : 2U);
    while (!heads.empty()) {
        for (const std::uint16_t taken : heads) world.use(taken, 1);
        world.complete();
        world.forward();
        heads = world.take_all();
        total += heads.size();
    }
    EXPECT_EQ(total, 8U);
    EXPECT_EQ(world.relay.in_flight(), 0U);
}

TEST_P(RelayTest, DoesNotAskForKicksWhileItWaitsForRoom) {
    RelayTerms small = terms();
    RelayWorld world(small);
    const auto buffers = request(world);
    const std::uint16_t head = world.driver.add(buffers);
    for (unsigned more = 1; more < 8; ++more) world.driver.put_available(head);
    world.driver.publish();
    world.forward();
    (void)world.take_all();
    if (std::get<1>(GetParam())) {
        world.driver.put_available(head);
        world.driver.publish();
        world.forward();
    }
    EXPECT_FALSE(world.relay.prepare_to_sleep()) << "it would spin until the device is done";
}

TEST_P(RelayTest, ClampsTheUsedLengthToWhatTheDeviceMayWrite) {
    RelayWorld world(terms());
    world.driver.add(request(world));
    world.driver.publish();
    world.forward();
    world.use(world.take_all().at(0), 0xffff'ffff);
    world.complete();
    EXPECT_EQ(world.driver.take_used().value().length, 1025U);
}

TEST_P(RelayTest, TellsOnlyAGuestThatWantsToHear) {
    RelayWorld world(terms());
    world.driver.request_interrupts();
    world.driver.suppress_interrupts();
    for (unsigned round = 0; round < 2; ++round) {
        world.driver.add(request(world));
        world.driver.publish();
        world.forward();
        world.use(world.take_all().at(0), 1);
        world.complete();
    }
    // With EVENT_IDX the first passes the event that was asked for, the second does not.
    EXPECT_EQ(world.statistics.interrupts.value(), std::get<0>(GetParam()) ? 1U : 0U);
    EXPECT_EQ(world.statistics.suppressed.value(), std::get<0>(GetParam()) ? 1U : 2U);
}

TEST_P(RelayTest, SeesWhatEitherSideDidBeforeItAskedToBeTold) {
    RelayWorld world(terms());
    EXPECT_FALSE(world.relay.prepare_to_sleep());
    world.relay.woken();
    world.driver.add(request(world));
    world.driver.publish();
    EXPECT_TRUE(world.relay.prepare_to_sleep()) << "there is a chain, and may be no kick for it";
    world.forward();
    world.use(world.take_all().at(0), 1);
    EXPECT_TRUE(world.relay.prepare_to_sleep()) << "there is an element, and may be no call for it";
}

TEST_P(RelayTest, AGuestDescriptorThatNamesTheShadowWindowIsRefused) {
    RelayWorld world(terms());
    for (const std::uint64_t offset : {std::uint64_t{0}, world.shadow.region().bytes.size() - 1}) {
        RelayWorld fresh(terms());
        fresh.driver.add(std::array{Buffer{fresh.shadow.region().iova + offset, 1, true}});
        fresh.driver.publish();
        fresh.forward();
        EXPECT_EQ(fresh.relay.guest_fault(), RingFault::buffer_not_mapped);
        EXPECT_TRUE(fresh.take_all().empty());
    }
}

TEST_P(RelayTest, ABufferThatLeavesGuestMemoryIsRefused) {
    for (const Buffer& buffer :
         {Buffer{Iova{0}, 512, true}, Buffer{Iova{~std::uint64_t{0}}, 2, false},
          Buffer{Iova{(1 << 20) + (16 << 20) - 1}, 2, true},
          Buffer{Iova{1 << 20}, 0xffff'ffff, true}}) {
        RelayWorld world(terms());
        world.driver.add(std::array{buffer});
        world.driver.publish();
        world.forward();
        EXPECT_EQ(world.relay.guest_fault(), RingFault::buffer_not_mapped);
        EXPECT_TRUE(world.take_all().empty());
        EXPECT_EQ(world.statistics.faults.value(), 1U);
    }
}

TEST_P(RelayTest, ABufferOfNoLengthGoesThrough) {
    RelayWorld world(terms());
    world.driver.add(std::array{Buffer{Iova{0}, 0, false}, Buffer{world.buffer(), 1, true}});
    world.driver.publish();
    world.forward();
    EXPECT_EQ(world.read(world.take_all().at(0)).readable.size(), 1U);
}

TEST_P(RelayTest, AGuestsFaultLeavesWhatWasTakenBeforeUnharmed) {
    RelayWorld world(terms());
    world.driver.add(request(world));
    world.driver.put_available(world.driver.ring().size());
    world.driver.publish();
    world.forward();
    EXPECT_EQ(world.relay.guest_fault(), RingFault::head_out_of_range);
    world.use(world.take_all().at(0), 1);
    EXPECT_TRUE(world.complete());
    EXPECT_TRUE(world.driver.take_used());
    world.driver.add(request(world));
    world.driver.publish();
    EXPECT_FALSE(world.forward());
}

TEST_P(RelayTest, AnAvailIndexThatJumpsIsAFault) {
    RelayWorld world(terms());
    world.driver.ring().avail_idx().store(9);
    world.forward();
    EXPECT_EQ(world.relay.guest_fault(), RingFault::avail_index_jumped);
    EXPECT_EQ(world.statistics.faults.value(), 1U);
    world.forward();
    EXPECT_EQ(world.statistics.faults.value(), 1U) << "it stopped once";
}

TEST_P(RelayTest, AnElementThatTheDeviceWasNotGivenIsItsFault) {
    for (const std::uint32_t id : {1U, 7U, 8U, 0xffff'ffffU}) {
        RelayWorld world(terms());
        world.driver.add(std::array{Buffer{world.buffer(), 1, true}});
        world.driver.publish();
        world.forward();
        ASSERT_EQ(world.take_all().at(0), 0);
        world.use(id, 1);
        world.complete();
        EXPECT_EQ(world.relay.device_fault(), DeviceFault::unknown_element);
        EXPECT_FALSE(world.driver.take_used());
    }
}

TEST_P(RelayTest, AnElementThatComesTwiceIsTheDevicesFault) {
    RelayWorld world(terms());
    for (unsigned i = 0; i < 2; ++i) world.driver.add(std::array{Buffer{world.buffer(), 1, true}});
    world.driver.publish();
    world.forward();
    const auto heads = world.take_all();
    world.use(heads[0], 1);
    world.use(heads[0], 1);
    world.complete();
    EXPECT_EQ(world.relay.device_fault(), DeviceFault::unknown_element);
}

TEST_P(RelayTest, AUsedIndexThatJumpsIsTheDevicesFault) {
    RelayWorld world(terms());
    world.shadow_queue.ring.used_idx().store(1);
    world.complete();
    EXPECT_EQ(world.relay.device_fault(), DeviceFault::used_index_jumped);
    EXPECT_FALSE(world.forward());
}

TEST_P(RelayTest, TheGuestsScribblingInItsUsedRingChangesNothing) {
    RelayWorld world(terms());
    world.driver.add(request(world));
    world.driver.publish();
    world.forward();
    world.driver.ring().used_idx().store(4711);
    world.use(world.take_all().at(0), 1);
    world.complete();
    EXPECT_EQ(world.driver.ring().used_idx().load(), 1);
    EXPECT_EQ(world.relay.next_avail(), virtio::RingIndex(1));
}

TEST_P(RelayTest, KnowsWhereAnotherGoesOnWhenTheDeviceGivesBackWhatItHasNotTouched) {
    RelayWorld world(terms());
    for (unsigned i = 0; i < 5; ++i) world.driver.add(std::array{Buffer{world.buffer(), 1, true}});
    world.driver.publish();
    world.forward();
    const auto heads = world.take_all();
    world.use(heads[0], 1);
    world.use(heads[1], 1);
    world.complete();
    EXPECT_EQ(world.relay.rewound(), virtio::RingIndex(2));
    world.use(heads[3], 1);
    world.complete();
    EXPECT_EQ(world.relay.rewound(), std::nullopt) << "the third would be lost or done twice";
}

TEST(Relay, AnIndirectTableRewrittenAfterSubmissionChangesNothing) {
    RelayWorld world({.indirect = true});
    const Iova data = world.buffer();
    const Iova table = world.memory.allocate(32, 16);
    world.memory.store(table, virtio::Descriptor{data, 512, virtio::descriptor_flag::next, 1});
    world.memory.store(table + 16, virtio::Descriptor{data, 1, virtio::descriptor_flag::write, 0});
    world.driver.set_descriptor(0, {table, 32, virtio::descriptor_flag::indirect, 0});
    world.driver.put_available(0);
    world.driver.publish();
    world.forward();
    world.memory.store(table, virtio::Descriptor{world.shadow.region().iova, 4096, 2, 0});
    world.driver.set_descriptor(0, {world.shadow.region().iova, 4096, 2, 0});
    const virtio::Chain& chain = world.read(world.take_all().at(0));
    ASSERT_EQ(chain.readable.size(), 1U);
    EXPECT_EQ(chain.readable[0].address, data);
    EXPECT_EQ(chain.writable[0].address, data);
}

TEST(Relay, CarriesAChainLongerThanTheRingInAnIndirectTable) {
    RelayWorld world({.ring_size = 4, .indirect = true});
    const std::vector<Buffer> buffers(200, Buffer{world.buffer(), 16, true});
    world.driver.add_indirect(buffers);
    world.driver.publish();
    world.forward();
    EXPECT_EQ(world.read(world.take_all().at(0)).writable.size(), 200U);
}

TEST(Relay, CarriesWhatTheDevicesLongestRingWouldCarryInAShorterOne) {
    const auto forwarded = [](std::size_t length) {
        RelayWorld world({.ring_size = 64, .device_maximum = 1024});
        const std::vector<Buffer> buffers(length, Buffer{world.buffer(), 16, true});
        world.driver.add_indirect(buffers);
        world.driver.publish();
        world.forward();
        const auto heads = world.take_all();
        return heads.empty() ? 0 : world.read(heads[0]).writable.size();
    };
    EXPECT_EQ(forwarded(1024), 1024U);
    EXPECT_EQ(forwarded(1025), 0U);
}

TEST(Relay, WaitsWhenTheLargeTablesAreAllInUse) {
    RelayWorld world({.ring_size = 64, .indirect = true});
    const std::vector<Buffer> buffers(17, Buffer{world.buffer(), 16, true});
    for (unsigned i = 0; i < 40; ++i) world.driver.add_indirect(buffers);
    world.driver.publish();
    world.forward();
    const auto heads = world.take_all();
    EXPECT_EQ(heads.size(), 32U);
    for (const std::uint16_t head : heads) world.use(head, 1);
    world.complete();
    world.forward();
    EXPECT_EQ(world.take_all().size(), 8U);
}

TEST(Relay, LimitsZeroesByWhatTheyCover) {
    const auto parsed = [](std::uint32_t type, std::size_t header_pieces) {
        RelayWorld world({});
        const Iova at = world.buffer(32);
        world.memory.store(at, virtio_blk_outhdr{type, 0, 0});
        world.memory.store(at + 16, virtio_blk_discard_write_zeroes{0, 0xffff'ffff, 0});
        std::vector<virtio::Segment> readable;
        const std::size_t piece = 32 / header_pieces;
        for (std::size_t i = 0; i < header_pieces; ++i) {
            readable.push_back({at + i * piece, static_cast<std::uint32_t>(piece),
                                world.memory.at(at + i * piece, piece)});
        }
        const std::array writable{virtio::Segment{at, 1, world.memory.at(at, 1)}};
        return datapath::parse_block_request({0, readable, writable});
    };
    for (const std::size_t pieces : {1U, 2U, 4U, 32U}) {
        const auto zeroes = parsed(VIRTIO_BLK_T_WRITE_ZEROES, pieces);
        EXPECT_EQ(zeroes.payload, 0xffff'ffffULL * 512);
        EXPECT_EQ(zeroes.bytes, zeroes.payload);
        EXPECT_TRUE(zeroes.into_device);
        const auto discard = parsed(VIRTIO_BLK_T_DISCARD, pieces);
        EXPECT_EQ(discard.payload, 16U) << "an I/O of the length of its list";
        EXPECT_EQ(discard.bytes, 0xffff'ffffULL * 512);
    }
}

TEST(Relay, CountsADisksRequestsByKind) {
    RelayWorld world({.personality = &datapath::block_personality});
    const auto post = [&](std::uint32_t type, const Buffer& data, std::byte status) {
        const Iova header = world.buffer(16);
        world.memory.store(header, virtio_blk_outhdr{type, 0, 0});
        const Iova verdict = world.buffer(1);
        world.driver.add(std::array{Buffer{header, 16, false}, data, Buffer{verdict, 1, true}});
        world.driver.publish();
        world.forward();
        world.memory.store(verdict, status);
        world.now += std::chrono::microseconds(100);
        world.use(world.take_all().at(0), 1);
        world.complete();
        ASSERT_TRUE(world.driver.take_used());
    };
    post(VIRTIO_BLK_T_IN, {world.buffer(1024), 1024, true}, std::byte{0});
    post(VIRTIO_BLK_T_OUT, {world.buffer(512), 512, false}, std::byte{1});
    post(VIRTIO_BLK_T_GET_ID, {world.buffer(20), 20, true}, std::byte{0});
    post(VIRTIO_BLK_T_FLUSH, {Iova{0}, 0, false}, std::byte{0});
    const Iova ranges = world.buffer(48);
    for (unsigned i = 0; i < 3; ++i) {
        world.memory.store(ranges + std::uint64_t{i} * 16,
                           virtio_blk_discard_write_zeroes{i, 8U << i, 0});
    }
    post(VIRTIO_BLK_T_DISCARD, {ranges, 48, false}, std::byte{0});
    post(VIRTIO_BLK_T_WRITE_ZEROES, {ranges, 16, false}, std::byte{0});
    EXPECT_EQ(world.statistics.of(RequestKind::flush).operations.value(), 1U);
    EXPECT_EQ(world.statistics.of(RequestKind::flush).bytes.value(), 0U);
    EXPECT_EQ(world.statistics.of(RequestKind::discard).operations.value(), 1U);
    EXPECT_EQ(world.statistics.of(RequestKind::discard).bytes.value(), (8U + 16U + 32U) * 512);
    // The one that failed is not among those that were carried out.
    EXPECT_EQ(world.statistics.of(RequestKind::write).operations.value(), 1U);
    EXPECT_EQ(world.statistics.of(RequestKind::write).bytes.value(), 8U * 512);
    const auto& reads = world.statistics.of(RequestKind::read);
    EXPECT_EQ(reads.operations.value(), 1U);
    EXPECT_EQ(reads.bytes.value(), 1024U);
    EXPECT_EQ(reads.nanoseconds.value(), 100'000U);
    EXPECT_EQ(reads.latency[LatencyHistogram::bin_of(100'000)], 1U);
    EXPECT_EQ(reads.failed.value(), 0U);
    EXPECT_EQ(world.statistics.of(RequestKind::write).failed.value(), 1U);
    EXPECT_EQ(world.statistics.of(RequestKind::other).operations.value(), 1U);
}

}  // namespace
}  // namespace viaduct::test
