// What a malicious driver can do to the slow path: every trick ends in a fault or in a completion,
// nothing outside guest memory is named to the device, the other queue works on, and a reset mends
// it.
#include <linux/virtio_blk.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/relay_world.hpp"
#include "tests/unit/switch_world.hpp"

namespace viaduct::test {
namespace {

using datapath::Policy;
using datapath::RequestKind;
using virtio::Descriptor;
using virtio::RingFault;
namespace descriptor_flag = virtio::descriptor_flag;

constexpr auto write_and_next =
    static_cast<std::uint16_t>(descriptor_flag::write | descriptor_flag::next);
constexpr auto indirect_and_next =
    static_cast<std::uint16_t>(descriptor_flag::indirect | descriptor_flag::next);

/// What the driver puts where; then head 0 is made available.
struct Trick {
    const char* name;
    void (*play)(RelayWorld& world);
    std::optional<RingFault> fault;  // none: the chain goes through
};
void PrintTo(const Trick& trick, std::ostream* out) {
    *out << trick.name;
}

Iova table_of(RelayWorld& world, const std::vector<Descriptor>& descriptors) {
    const Iova table = world.memory.allocate(descriptors.size() * sizeof(Descriptor), 16);
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
        world.memory.store(table + i * sizeof(Descriptor), descriptors[i]);
    }
    return table;
}

const std::vector<Trick>& tricks() {
    static const std::vector<Trick> all{
        {"LoopInTheRing",
         [](RelayWorld& world) {
             const Iova data = world.buffer();
             world.driver.set_descriptor(0, {data, 16, descriptor_flag::next, 1});
             world.driver.set_descriptor(1, {data, 16, descriptor_flag::next, 0});
         },
         RingFault::chain_too_long},
        {"LoopToItself",
         [](RelayWorld& world) {
             world.driver.set_descriptor(0, {world.buffer(), 16, descriptor_flag::next, 0});
         },
         RingFault::chain_too_long},
        {"LoopInATable",
         [](RelayWorld& world) {
             const Iova data = world.buffer();
             const Iova table = table_of(world, {{data, 16, descriptor_flag::next, 1},
                                                 {data, 16, descriptor_flag::next, 0}});
             world.driver.set_descriptor(0, {table, 32, descriptor_flag::indirect, 0});
         },
         RingFault::chain_too_long},
        {"NextOutOfTheRing",
         [](RelayWorld& world) {
             world.driver.set_descriptor(0, {world.buffer(), 16, descriptor_flag::next, 8});
         },
         RingFault::next_out_of_range},
        {"NextOutOfTheTable",
         [](RelayWorld& world) {
             const Iova table = table_of(world, {{world.buffer(), 16, descriptor_flag::next, 1}});
             world.driver.set_descriptor(0, {table, 16, descriptor_flag::indirect, 0});
         },
         RingFault::next_out_of_range},
        {"TableInATable",
         [](RelayWorld& world) {
             const Iova inner = table_of(world, {{world.buffer(), 16, descriptor_flag::write, 0}});
             const Iova table = table_of(world, {{inner, 16, descriptor_flag::indirect, 0}});
             world.driver.set_descriptor(0, {table, 16, descriptor_flag::indirect, 0});
         },
         RingFault::indirect_in_indirect},
        {"TableWithANext",
         [](RelayWorld& world) {
             const Iova table = table_of(world, {{world.buffer(), 16, descriptor_flag::write, 0}});
             world.driver.set_descriptor(0, {table, 16, indirect_and_next, 1});
         },
         RingFault::indirect_with_next},
        {"TableOfNoLength",
         [](RelayWorld& world) {
             world.driver.set_descriptor(0, {world.buffer(), 0, descriptor_flag::indirect, 0});
         },
         RingFault::indirect_bad_length},
        {"TableOfAnOddLength",
         [](RelayWorld& world) {
             world.driver.set_descriptor(0, {world.buffer(), 24, descriptor_flag::indirect, 0});
         },
         RingFault::indirect_bad_length},
        {"TableAtTheEndOfMemory",
         [](RelayWorld& world) {
             world.driver.set_descriptor(
                 0, {Iova{world.memory.end().value - 16}, 32, descriptor_flag::indirect, 0});
         },
         RingFault::indirect_not_mapped},
        {"TableInTheShadowWindow",
         [](RelayWorld& world) {
             world.driver.set_descriptor(
                 0, {world.shadow.region().iova, 16, descriptor_flag::indirect, 0});
         },
         RingFault::indirect_not_mapped},
        {"ShadowWindowInATable",
         [](RelayWorld& world) {
             const Iova table =
                 table_of(world, {{world.shadow.region().iova, 16, descriptor_flag::write, 0}});
             world.driver.set_descriptor(0, {table, 16, descriptor_flag::indirect, 0});
         },
         RingFault::buffer_not_mapped},
        {"ReadableAfterWritable",
         [](RelayWorld& world) {
             const Iova data = world.buffer();
             world.driver.set_descriptor(0, {data, 16, write_and_next, 1});
             world.driver.set_descriptor(1, {data, 16, 0, 0});
         },
         RingFault::readable_after_writable},
        {"AllLengthsZero",
         [](RelayWorld& world) {
             world.driver.set_descriptor(0, {Iova{0}, 0, descriptor_flag::next, 1});
             world.driver.set_descriptor(1, {Iova{0}, 0, descriptor_flag::write, 0});
         },
         std::nullopt},
        {"RingsAsBuffers",
         [](RelayWorld& world) {
             // Legal: the device writes into the rings that the relay reads.
             const auto& setup = world.driver.setup();
             world.driver.set_descriptor(0, {setup.descriptors, 16, write_and_next, 1});
             world.driver.set_descriptor(1, {setup.driver_area, 20, descriptor_flag::write, 0});
         },
         std::nullopt},
    };
    return all;
}

class RelayHostile : public testing::TestWithParam<Trick> {};

INSTANTIATE_TEST_SUITE_P(Tricks, RelayHostile, testing::ValuesIn(tricks()),
                         [](const auto& trick) { return std::string(trick.param.name); });

TEST_P(RelayHostile, IsAFaultOrGoesThrough) {
    RelayWorld world({.personality = &datapath::block_personality});
    GetParam().play(world);
    world.driver.put_available(0);
    world.driver.publish();
    world.forward();
    EXPECT_EQ(world.relay.guest_fault(), GetParam().fault);
    const auto heads = world.take_all();
    EXPECT_EQ(heads.empty(), GetParam().fault.has_value());
    for (const std::uint16_t head : heads) {
        (void)world.read(head);
        world.use(head, 0xffff'ffff);
    }
    EXPECT_EQ(world.complete(), !heads.empty());
    EXPECT_EQ(world.relay.in_flight(), 0U);
}

TEST(RelayHostile, AnAvailIndexThatGoesBackIsAFault) {
    RelayWorld world({});
    for (unsigned i = 0; i < 3; ++i) world.driver.add(std::array{Buffer{world.buffer(), 1, true}});
    world.driver.publish();
    world.forward();
    EXPECT_EQ(world.take_all().size(), 3U);
    world.driver.ring().avail_idx().store(1);
    world.forward();
    EXPECT_EQ(world.relay.guest_fault(), RingFault::avail_index_jumped);
}

TEST(RelayHostile, AHeadThatIsMadeAvailableAgainWhileInFlightComesBackTwice) {
    RelayWorld world({});
    const std::uint16_t head = world.driver.add(std::array{Buffer{world.buffer(), 64, true}});
    world.driver.put_available(head);
    world.driver.publish();
    world.forward();
    const auto heads = world.take_all();
    ASSERT_EQ(heads.size(), 2U);
    EXPECT_NE(heads[0], heads[1]) << "the device knows them by their slots";
    for (const std::uint16_t slot : heads) world.use(slot, 64);
    world.complete();
    EXPECT_EQ(world.driver.take_used()->id, head);
    EXPECT_EQ(world.driver.take_used()->id, head);
    EXPECT_FALSE(world.driver.take_used());
    EXPECT_FALSE(world.relay.device_fault());
}

TEST(RelayHostile, AHeaderChangedAfterSubmissionChangesNeitherBooksNorLimits) {
    datapath::ThrottleMember throttle;
    auto group = std::make_shared<datapath::ThrottleGroup>("g");
    group->set_limits({.bps_wr = {.average = 512, .maximum = 512}}, RelayWorld::Clock::now());
    throttle.join(group);
    RelayWorld world({.personality = &datapath::block_personality, .throttle = &throttle});
    const auto post = [&](std::uint32_t type) {
        const Iova header = world.buffer(16);
        world.memory.store(header, virtio_blk_outhdr{type, 0, 0});
        world.driver.add(std::array{Buffer{header, 16, false},
                                    Buffer{world.buffer(4096), 4096, false},
                                    Buffer{world.buffer(1), 1, true}});
        world.driver.publish();
        return header;
    };
    // Whatever it calls itself, it carries 4 KiB into the device: the next has to wait.
    const Iova first = post(VIRTIO_BLK_T_FLUSH);
    world.forward();
    world.memory.store(first, virtio_blk_outhdr{VIRTIO_BLK_T_OUT, 0, 7});
    post(VIRTIO_BLK_T_DISCARD);
    world.forward();
    const auto heads = world.take_all();
    ASSERT_EQ(heads.size(), 1U);
    world.use(heads[0], 1);
    world.complete();
    EXPECT_EQ(world.statistics.of(RequestKind::flush).operations.value(), 1U);
    EXPECT_EQ(world.statistics.of(RequestKind::write).operations.value(), 0U);
    EXPECT_EQ(world.statistics.throttled_requests.value(), 1U);
}

/// Where a driver says that its rings are: on one another.
struct Rings {
    const char* name;
    void (*place)(virtio::QueueSetup& setup);
};
void PrintTo(const Rings& rings, std::ostream* out) {
    *out << rings.name;
}

class RelayHostileRings : public testing::TestWithParam<Rings> {};

INSTANTIATE_TEST_SUITE_P(
    Places, RelayHostileRings,
    testing::Values(
        Rings{"UsedOverAvail", [](auto& setup) { setup.device_area = setup.driver_area; }},
        Rings{"AvailOverDescriptors", [](auto& setup) { setup.driver_area = setup.descriptors; }},
        Rings{"UsedOverDescriptors", [](auto& setup) { setup.device_area = setup.descriptors; }},
        Rings{"AllInOnePlace",
              [](auto& setup) { setup.driver_area = setup.device_area = setup.descriptors; }}),
    [](const auto& rings) { return std::string(rings.param.name); });

TEST_P(RelayHostileRings, NameNothingOutsideMemoryAndCompleteWhatIsTaken) {
    RelayWorld world({.ring_size = 64, .place = GetParam().place});
    for (unsigned i = 0; i < 20; ++i) {
        world.driver.add(
            std::array{Buffer{world.buffer(16), 16, false}, Buffer{world.buffer(), 512, true}});
    }
    world.driver.publish();
    for (unsigned round = 0; round < 1000 && !world.relay.guest_fault(); ++round) {
        world.forward();
        for (const std::uint16_t head : world.take_all()) {
            const virtio::Chain& chain = world.read(head);
            for (const auto& segments : {chain.readable, chain.writable}) {
                for (const virtio::Segment& segment : segments) {
                    EXPECT_EQ(world.memory.at(segment.address, segment.length).size(),
                              segment.length);
                }
            }
            world.use(head, 0xffff'ffff);
        }
        world.complete();
        EXPECT_EQ(world.relay.in_flight(), 0U);
        EXPECT_FALSE(world.relay.device_fault());
    }
}

/// Tricks on one queue of a disk on its slow path, with the relays' threads.
class RelayHostileDisk : public testing::Test {
protected:
    RelayHostileDisk() {
        EXPECT_TRUE(succeeded(world_.set(Policy::slow)));
        EXPECT_TRUE(world_.run());
    }
    /// Makes head 0 of the second queue available, as it stands.
    void play() {
        world_.driver(1).put_available(0);
        world_.driver(1).publish();
        world_.guest().guest_kick(1).signal();
    }
    void expect_a_fault_and_that_the_first_queue_works() {
        EXPECT_TRUE(eventually([&] { return world_.guest().needs_reset(); }));
        world_.start_load_of(0);
        world_.finish_load();
        world_.reset();
        EXPECT_FALSE(world_.guest().needs_reset());
        ASSERT_TRUE(world_.run());
        world_.start_load();
        world_.finish_load();
    }

    SwitchWorld world_{{.queues = 2}};
};

TEST_F(RelayHostileDisk, ALoopHarmsItsOwnQueueOnly) {
    world_.driver(1).set_descriptor(0, {world_.memory.allocate(16), 16, descriptor_flag::next, 0});
    play();
    expect_a_fault_and_that_the_first_queue_works();
}

TEST_F(RelayHostileDisk, ABufferOutsideMemoryHarmsItsOwnQueueOnly) {
    world_.driver(1).set_descriptor(0, {world_.memory.end(), 16, descriptor_flag::write, 0});
    play();
    expect_a_fault_and_that_the_first_queue_works();
}

TEST_F(RelayHostileDisk, ARequestOfNoLengthHarmsItsOwnQueueOnly) {
    world_.driver(1).set_descriptor(0, {Iova{0}, 0, descriptor_flag::next, 1});
    world_.driver(1).set_descriptor(1, {Iova{0}, 0, descriptor_flag::write, 0});
    play();
    // The relay lets it through; it is the device that finds no room for a status.
    expect_a_fault_and_that_the_first_queue_works();
}

}  // namespace
}  // namespace viaduct::test
