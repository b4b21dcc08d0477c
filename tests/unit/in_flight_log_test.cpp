// The log of what is in flight, at each point at which the process that writes it can die.
#include "vdpa/soft/in_flight_log.hpp"

#include <array>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace viaduct::soft {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using virtio::RingIndex;

class InFlight : public testing::Test {
protected:
    /// What the next process finds.
    std::vector<std::uint16_t> found(std::uint16_t used_idx, std::uint16_t ring_size = 8) {
        return InFlightLog(memory_).unfinished(RingIndex(used_idx), ring_size);
    }

    std::vector<InFlightEntry> memory_{8};
    InFlightLog log_{memory_};
    static constexpr std::array<std::uint16_t, 3> heads{5, 2, 7};
};

TEST_F(InFlight, IsEmptyToBeginWith) {
    EXPECT_THAT(found(0), IsEmpty());
    EXPECT_THAT(found(0xffff), IsEmpty());
}

TEST_F(InFlight, TellsTheHeadsInTheOrderInWhichTheyWereTaken) {
    for (const auto head : heads) log_.take(head);
    EXPECT_THAT(found(0), ElementsAre(5, 2, 7));
}

TEST_F(InFlight, AnswerThatUsedIdxHasNotPassedIsUnfinished) {
    for (const auto head : heads) log_.take(head);
    log_.answer(2, RingIndex(0));
    log_.answer(7, RingIndex(1));
    EXPECT_THAT(found(0), ElementsAre(5, 2, 7));
}

TEST_F(InFlight, AnswerThatUsedIdxHasPassedIsDoneWhetherPublishWasReachedOrNot) {
    for (const auto head : heads) log_.take(head);
    log_.answer(2, RingIndex(0));
    log_.answer(7, RingIndex(1));
    EXPECT_THAT(found(2), ElementsAre(5));
    log_.publish();
    EXPECT_THAT(found(2), ElementsAre(5));
}

TEST_F(InFlight, AnswerInPartPublishedIsNotPossibleButABatchAfterAnotherIs) {
    log_.take(0);
    log_.answer(0, RingIndex(0));
    log_.publish();
    log_.take(1);
    log_.answer(1, RingIndex(1));
    EXPECT_THAT(found(1), ElementsAre(1));
}

TEST_F(InFlight, PositionsWrap) {
    log_.take(3);
    log_.take(4);
    log_.answer(3, RingIndex(0xffff));
    log_.answer(4, RingIndex(0));
    EXPECT_THAT(found(0xffff), ElementsAre(3, 4));
    EXPECT_THAT(found(1), IsEmpty());
}

TEST_F(InFlight, AHeadThatCameBackIsTakenAnew) {
    log_.take(3);
    log_.take(4);
    log_.answer(3, RingIndex(0));
    log_.publish();
    log_.take(3);
    EXPECT_THAT(found(1), ElementsAre(4, 3));
}

TEST_F(InFlight, TheSuccessorCountsOn) {
    log_.take(6);
    InFlightLog successor(memory_);
    EXPECT_THAT(successor.unfinished(RingIndex(0), 8), ElementsAre(6));
    successor.take(6);  // done again
    successor.take(1);
    EXPECT_THAT(found(0), ElementsAre(6, 1));
}

TEST_F(InFlight, IsClearedByAReset) {
    log_.take(6);
    log_.take(7);
    log_.answer(7, RingIndex(0));
    log_.clear();
    EXPECT_THAT(found(0), IsEmpty());
}

TEST_F(InFlight, NonsenseInTheMemoryNamesEachHeadOnceAndNoneBeyondTheRing) {
    for (InFlightEntry& entry : memory_) {
        entry = {.order = 7, .used_position = 3, .state = static_cast<InFlightEntry::State>(200)};
    }
    EXPECT_THAT(found(0, 4), ElementsAre(0, 1, 2, 3));
}

}  // namespace
}  // namespace viaduct::soft
