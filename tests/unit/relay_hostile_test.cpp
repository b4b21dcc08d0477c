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

/// The rings of a second queue where they should not be, before the first queue's guest starts.
struct Rings {
    const char* name;
    void (*place)(std::vector<virtio::QueueSetup>& setups);
};
void PrintTo(const Rings& rings, std::ostream* out) {
    *out << rings.name;
}

class RelayHostileRings : public testing::TestWithParam<std::tuple<Rings, bool>> {};

INSTANTIATE_TEST_SUITE_P(
    Places, RelayHostileRings,
    testing::Combine(
        testing::Values(Rings{"UsedOutsideMemory",
                              [](auto& setups) { setups[1].device_area = Iova{0x4000'0000}; }},
                        Rings{"UsedOverAvail",
                              [](auto& setups) { setups[1].device_area = setups[1].driver_area; }},
                        Rings{"AvailOverDescriptors",
                              [](auto& setups) { setups[1].driver_area = setups[1].descriptors; }},
                        Rings{"UsedOverDescriptors",
                              [](auto& setups) { setups[1].device_area = setups[1].descriptors; }},
                        Rings{"AllInOnePlace",
                              [](auto& setups) {
                                  setups[1].driver_area = setups[1].descriptors;
                                  setups[1].device_area = setups[1].descriptors;
                              }}),
        testing::Bool()),
    [](const auto& tested) {
        return std::string(std::get<0>(tested.param).name) +
               (std::get<1>(tested.param) ? "Slow" : "Fast");
    });

TEST_P(RelayHostileRings, HarmNobodyElseAndAResetMendsThem) {
    const auto& [rings, slow] = GetParam();
    SwitchWorld world({.queues = 2, .drain_timeout = std::chrono::milliseconds(100)});
    ASSERT_TRUE(succeeded(world.set(slow ? Policy::slow : Policy::fast)));
    std::vector<virtio::QueueSetup> setups{world.driver(0).setup(), world.driver(1).setup()};
    rings.place(setups);
    ASSERT_TRUE(world.guest().accept_features(world.guest().offered_features()));
    // Before the device looks: what it makes of its rings then is its own doing. So few that an
    // index over an address does not come to name the first queue's rings.
    world.post_reads(8, 1);
    // A device may fail on them before it says that it has started: then nobody is served.
    if (world.guest().start(setups)) {
        // The first queue's are its own.
        world.start_load_of(0);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        world.finish_load();
    }
    world.reset();
    // What the driver had there is gone: it begins with empty rings.
    for (const auto area :
         {world.driver(1).setup().descriptors, world.driver(1).setup().driver_area,
          world.driver(1).setup().device_area}) {
        const auto bytes = world.memory.at(area, 512);
        std::fill(bytes.begin(), bytes.end(), std::byte{0});
    }
    ASSERT_TRUE(world.run());
    world.start_load();
    world.finish_load();
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
