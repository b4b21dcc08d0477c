#include "devices/virtio/split_ring.hpp"

#include <array>

#include <gtest/gtest.h>

#include "tests/unit/ring_driver.hpp"

namespace viaduct::virtio {
namespace {

TEST(RingIndex, WrapsFrom65535To0) {
    RingIndex index(65535);
    ++index;
    EXPECT_EQ(index, RingIndex(0));
    EXPECT_EQ(RingIndex(65534) + 5, RingIndex(3));
}

TEST(RingIndex, MeasuresDistanceAcrossTheWrap) {
    EXPECT_EQ(RingIndex(2) - RingIndex(65534), 4);
    EXPECT_EQ(RingIndex(65534) - RingIndex(2), 65532);
    EXPECT_EQ(RingIndex(7) - RingIndex(7), 0);
}

TEST(RingIndex, FindsItsSlotByTheLowBits) {
    EXPECT_EQ(RingIndex(256).slot(256), 0);
    EXPECT_EQ(RingIndex(65535).slot(256), 255);
    EXPECT_EQ(RingIndex(65535).slot(32768), 32767);
    EXPECT_EQ(RingIndex(1025).slot(1), 0);
}

struct EventCase {
    std::uint16_t event, before, now;
    bool passed;
};

class PassedEvent : public testing::TestWithParam<EventCase> {};

TEST_P(PassedEvent, IsTrueExactlyWhenTheEntryOfTheEventWasPassed) {
    const auto& [event, before, now, passed] = GetParam();
    EXPECT_EQ(passed_event(RingIndex(event), RingIndex(before), RingIndex(now)), passed)
        << "event " << event << ", from " << before << " to " << now;
}

INSTANTIATE_TEST_SUITE_P(TruthTable, PassedEvent,
                         testing::Values(EventCase{0, 0, 0, false},      // nothing happened
                                         EventCase{0, 0, 1, true},       // the very entry
                                         EventCase{0, 0, 5, true},       // within a batch
                                         EventCase{4, 0, 5, true},       // the last of the batch
                                         EventCase{5, 0, 5, false},      // the one after the batch
                                         EventCase{6, 0, 5, false},      // well after it
                                         EventCase{0, 1, 5, false},      // long passed
                                         EventCase{65535, 0, 5, false},  // just passed
                                         EventCase{65535, 65535, 0, true},  // the wrap is the entry
                                         EventCase{65535, 65534, 2, true},  // a batch over the wrap
                                         EventCase{0, 65534, 2, true},      //
                                         EventCase{1, 65534, 2, true},      //
                                         EventCase{2, 65534, 2, false},     //
                                         EventCase{65533, 65534, 2, false}));  //

TEST(PassedEvent, AgreesWithCountingForEveryEventOfARing) {
    for (unsigned before = 65500; before < 65540; ++before) {
        for (unsigned steps = 0; steps < 20; ++steps) {
            for (unsigned event = 65480; event < 65580; ++event) {
                const bool counted = event >= before && event < before + steps;
                const auto index = [](unsigned value) {
                    return RingIndex(static_cast<std::uint16_t>(value));
                };
                ASSERT_EQ(passed_event(index(event), index(before), index(before + steps)), counted)
                    << event << ' ' << before << ' ' << steps;
            }
        }
    }
}

TEST(SplitRing, HasTheSizesOfTheSpecification) {
    EXPECT_EQ(SplitRing::descriptor_table_bytes(256), 4096U);
    EXPECT_EQ(SplitRing::avail_bytes(256), 518U);
    EXPECT_EQ(SplitRing::used_bytes(256), 2054U);
}

class SplitRingPlace : public testing::Test {
protected:
    [[nodiscard]] bool found(const QueueSetup& queue) const {
        return SplitRing::find(memory_.space(), queue).has_value();
    }

    test::GuestMemory memory_{1 << 20};
    QueueSetup good_{256, memory_.allocate(4096), memory_.allocate(4096), memory_.allocate(4096),
                     true};
};

TEST_F(SplitRingPlace, IsFoundWhereItLiesInMemory) {
    EXPECT_TRUE(found(good_));
}

TEST_F(SplitRingPlace, RefusesASizeThatIsNoPowerOfTwo) {
    for (const std::uint16_t size : std::to_array<std::uint16_t>({0, 3, 255, 257, 65535})) {
        good_.size = size;
        EXPECT_FALSE(found(good_)) << size;
    }
}

TEST_F(SplitRingPlace, RefusesAnAreaOutsideMemory) {
    for (Iova QueueSetup::*area :
         {&QueueSetup::descriptors, &QueueSetup::driver_area, &QueueSetup::device_area}) {
        for (const Iova bad :
             {Iova{0}, Iova{memory_.end().value - 16}, memory_.end(), Iova{~std::uint64_t{15}}}) {
            QueueSetup queue = good_;
            queue.*area = bad;
            EXPECT_FALSE(found(queue)) << bad.value;
        }
    }
}

TEST_F(SplitRingPlace, RefusesMisalignedAreas) {
    QueueSetup queue = good_;
    queue.descriptors = queue.descriptors + 8;
    EXPECT_FALSE(found(queue));
    queue = good_;
    queue.driver_area = queue.driver_area + 1;
    EXPECT_FALSE(found(queue));
    queue = good_;
    queue.device_area = queue.device_area + 2;
    EXPECT_FALSE(found(queue));
}

TEST_F(SplitRingPlace, RefusesAUsedRingThatTheDeviceMayNotWrite) {
    AddressSpace space;
    MemoryRegion region = memory_.region();
    region.writable = false;
    space.map(region);
    EXPECT_FALSE(SplitRing::find(space, good_).has_value());
}

}  // namespace
}  // namespace viaduct::virtio
