// Turns within a throttle group, in a time of its own; one thread plays all members.
#include <algorithm>
#include <memory>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "tests/unit/throttle_directions.hpp"
#include "vdpa/datapath/throttle/member.hpp"

namespace viaduct::datapath {
namespace {

using namespace std::chrono_literals;
using TimePoint = ThrottleMember::TimePoint;
using Duration = ThrottleGroup::Duration;

/// A relay with requests without end, whose thread runs a little after it was told to.
struct Client {
    Client(const std::shared_ptr<ThrottleGroup>& group, bool into, std::uint64_t size)
        : into_device(into), bytes(size) {
        member.join(group);
    }

    bool admit(TimePoint now) { return member.admit(into_device, bytes, now); }

    EventFd wake;
    ThrottleMember member{&wake};
    const bool into_device;
    const std::uint64_t bytes;
    std::uint64_t requests = 0;
    TimePoint runs_at;
};

class ThrottleGroupMembers : public testing::Test {
protected:
    void limit(const ThrottleLimits& limits) { group_->set_limits(limits, now_); }
    void limit_requests(std::uint64_t iops) {
        ThrottleLimits limits;
        limits.iops.average = iops;
        limit(limits);
    }
    Client& add(bool into_device = read, std::uint64_t bytes = 4096) {
        return *clients_.emplace_back(std::make_unique<Client>(group_, into_device, bytes));
    }
    /// Each runs `late` after it was told to.
    void run(Duration time, Duration late = 0us) {
        const TimePoint end = now_ + time;
        for (auto& client : clients_) client->runs_at = now_;
        while (true) {
            now_ = TimePoint::max();
            for (auto& client : clients_) now_ = std::min(now_, client->runs_at);
            if (now_ >= end) break;
            for (auto& client : clients_) {
                if (client->runs_at <= now_) run(*client, late);
            }
            for (auto& client : clients_) {
                if (client->wake.take()) client->runs_at = std::min(client->runs_at, now_ + late);
            }
        }
        now_ = end;
    }
    void run(Client& client, Duration late) {
        for (unsigned i = 0; i < endless && client.admit(now_); ++i) ++client.requests;
        const auto when = client.member.when(client.into_device);
        client.runs_at = when ? std::max(*when, now_) + late : TimePoint::max();
    }
    /// Until it stands in line.
    void exhaust(Client& client) const {
        for (unsigned i = 0; i < endless && client.admit(now_); ++i) continue;
    }

    std::shared_ptr<ThrottleGroup> group_ = std::make_shared<ThrottleGroup>("disks");
    std::vector<std::unique_ptr<Client>> clients_;
    TimePoint now_{1000s};
};

TEST_F(ThrottleGroupMembers, AreNotActiveWithoutLimits) {
    ThrottleMember alone;
    EXPECT_FALSE(alone.active());
    EXPECT_TRUE(alone.admit(read, 4096, now_));
    Client& client = add();
    EXPECT_FALSE(client.member.active());
    EXPECT_TRUE(client.admit(now_));
    EXPECT_EQ(client.member.when(read), std::nullopt);
    limit_requests(10);
    EXPECT_TRUE(client.member.active());
}

TEST_F(ThrottleGroupMembers, AreActiveWhenTheyJoinAGroupWithLimits) {
    limit_requests(10);
    EXPECT_TRUE(add().member.active());
}

TEST_F(ThrottleGroupMembers, KnowWhenTheirTurnIs) {
    limit_requests(10);
    Client& client = add();
    exhaust(client);
    const auto when = client.member.when(read);
    ASSERT_NE(when, std::nullopt);
    EXPECT_EQ(client.member.when(write), std::nullopt);
    EXPECT_FALSE(client.admit(*when - 1ns));
    EXPECT_EQ(client.member.when(read), when) << "asking does not put it off";
    EXPECT_TRUE(client.admit(*when));
}

TEST_F(ThrottleGroupMembers, ShareALimitOfRequestsEqually) {
    limit_requests(1000);
    const Client& first = add();
    const Client& second = add();
    run(20s, 60us);
    EXPECT_NEAR(static_cast<double>(first.requests + second.requests), 20'000, 200);
    EXPECT_NEAR(static_cast<double>(first.requests), static_cast<double>(second.requests), 500);
}

TEST_F(ThrottleGroupMembers, ShareALimitOfBytesEqually) {
    ThrottleLimits limits;
    limits.bps_wr.average = 10'000'000;
    limit(limits);
    const Client& first = add(write, 20'000);
    const Client& second = add(write, 20'000);
    run(20s, 60us);
    EXPECT_NEAR(static_cast<double>(first.requests + second.requests), 10'000, 100);
    EXPECT_NEAR(static_cast<double>(first.requests), static_cast<double>(second.requests), 250);
}

TEST_F(ThrottleGroupMembers, TakeTurnsRequestByRequestWhateverTheirSize) {
    ThrottleLimits limits;
    limits.bps.average = 10'000'000;
    limit(limits);
    const Client& small = add(read, 512);
    const Client& middle = add(read, 65'536);
    const Client& large = add(read, 262'144);
    run(1s, 60us);
    const std::uint64_t before = small.requests;
    run(100s, 60us);
    const double rounds = 100 * 10e6 / (512 + 65'536 + 262'144);
    EXPECT_NEAR(static_cast<double>(small.requests - before), rounds, rounds / 100);
    EXPECT_NEAR(static_cast<double>(middle.requests), static_cast<double>(large.requests), 5);
}

TEST_F(ThrottleGroupMembers, LeaveAllOfTheLimitToTheOneThatNeedsIt) {
    limit_requests(1000);
    add();
    Client& busy = add();
    for (auto& client : clients_) client->runs_at = TimePoint::max();
    const TimePoint end = now_ + 20s;
    for (; now_ < end; now_ = busy.runs_at) run(busy, 60us);
    EXPECT_NEAR(static_cast<double>(busy.requests), 20'000, 200);
}

TEST_F(ThrottleGroupMembers, DoNotStarveWritesWithReadsOfOneTotal) {
    limit_requests(1000);
    const Client& reader = add(read);
    const Client& writer = add(write);
    run(1s);
    const std::uint64_t reads = reader.requests;
    const std::uint64_t writes = writer.requests;
    run(20s);
    EXPECT_NEAR(static_cast<double>(reader.requests - reads), 10'000, 500);
    EXPECT_NEAR(static_cast<double>(writer.requests - writes), 10'000, 500);
}

TEST_F(ThrottleGroupMembers, ReachTheirLimitThoughThreadsTakeTheirTimeToHandOver) {
    limit_requests(50'000);
    const Client& first = add();
    const Client& second = add();
    run(1s, 200us);
    const std::uint64_t before = first.requests + second.requests;
    run(5s, 200us);
    EXPECT_NEAR(static_cast<double>(first.requests + second.requests - before), 250'000, 2500);
    EXPECT_NEAR(static_cast<double>(first.requests), static_cast<double>(second.requests), 7500);
}

TEST_F(ThrottleGroupMembers, GiveANewcomerNoMoreThanTheirOwnWhenTheyHandOverSlowly) {
    limit_requests(50'000);
    const Client& first = add();
    add();
    run(5s, 200us);
    const std::uint64_t before = first.requests;
    const Client& third = add();
    run(6s, 200us);
    EXPECT_NEAR(static_cast<double>(third.requests), 100'000, 5000);
    EXPECT_NEAR(static_cast<double>(first.requests - before), 100'000, 5000);
}

TEST_F(ThrottleGroupMembers, DoNotGoWithoutTheirTurnAtALowLimit) {
    limit_requests(100);
    Client& first = add();
    Client& second = add();
    exhaust(first);
    exhaust(second);
    now_ += 10s;
    EXPECT_TRUE(first.admit(now_));
    EXPECT_FALSE(first.admit(now_)) << "it is the second one's turn";
    EXPECT_TRUE(second.admit(now_));
}

/// The first client has the turn, the others stand behind it.
class ThrottleLine : public ThrottleGroupMembers {
protected:
    void SetUp() override {
        limit_requests(10);
        for (auto* client : {&first_, &second_, &third_}) {
            exhaust(*client);
            (void)client->wake.take();
        }
    }
    /// `client` was told, and may go when the limit says so.
    void expect_turn(Client& client) {
        EXPECT_TRUE(client.wake.pending());
        const auto when = client.member.when(read);
        ASSERT_NE(when, std::nullopt);
        EXPECT_GT(*when, now_);
        EXPECT_LE(*when, now_ + 100ms);
        EXPECT_FALSE(client.admit(now_));
        EXPECT_TRUE(client.admit(*when));
    }

    Client& first_ = add();
    Client& second_ = add();
    Client& third_ = add();
};

TEST_F(ThrottleLine, HasOneTurnAtATime) {
    EXPECT_NE(first_.member.when(read), std::nullopt);
    EXPECT_EQ(second_.member.when(read), std::nullopt);
    EXPECT_EQ(third_.member.when(read), std::nullopt);
    EXPECT_FALSE(second_.admit(now_ + 10s)) << "even if there is room";
}

TEST_F(ThrottleLine, PassesTheTurnToTheNextAndTellsNobodyElse) {
    now_ = *first_.member.when(read);
    EXPECT_TRUE(first_.admit(now_));
    EXPECT_FALSE(first_.admit(now_)) << "its next one stands at the end";
    EXPECT_FALSE(first_.wake.pending());
    EXPECT_FALSE(third_.wake.pending());
    expect_turn(second_);
    EXPECT_TRUE(third_.wake.pending());
    EXPECT_FALSE(first_.wake.pending());
}

TEST_F(ThrottleLine, GoesOnWhenTheOneWithTheTurnWithdraws) {
    first_.member.withdraw();
    EXPECT_EQ(first_.member.when(read), std::nullopt);
    expect_turn(second_);
}

TEST_F(ThrottleLine, GoesOnWhenTheOneWithTheTurnLeaves) {
    first_.member.leave();
    EXPECT_TRUE(first_.wake.pending());
    EXPECT_FALSE(first_.member.active());
    EXPECT_TRUE(first_.admit(now_));
    expect_turn(second_);
}

TEST_F(ThrottleLine, GoesOnWhenTheOneWithTheTurnDies) {
    clients_.erase(clients_.begin());
    expect_turn(second_);
}

TEST_F(ThrottleLine, GoesOnWhenTheThreadOfTheOneWithTheTurnEnds) {
    first_.member.set_wake(nullptr);
    expect_turn(second_);
}

TEST_F(ThrottleLine, CloseUpWhenOneInTheMiddleWithdraws) {
    second_.member.withdraw();
    EXPECT_FALSE(third_.wake.pending());
    now_ = *first_.member.when(read);
    EXPECT_TRUE(first_.admit(now_));
    expect_turn(third_);
    EXPECT_FALSE(second_.wake.pending());
}

TEST_F(ThrottleLine, LetsAllGoWhenTheLimitsAreCleared) {
    limit({});
    for (auto* client : {&first_, &second_, &third_}) {
        EXPECT_TRUE(client->wake.pending());
        EXPECT_FALSE(client->member.active());
        EXPECT_EQ(client->member.when(read), std::nullopt);
        EXPECT_TRUE(client->admit(now_));
    }
}

TEST_F(ThrottleLine, IsFormedAnewUnderOtherLimits) {
    limit_requests(1'000'000);
    for (auto* client : {&third_, &first_, &second_}) {
        EXPECT_TRUE(client->wake.pending());
        EXPECT_TRUE(client->admit(now_));
    }
}

TEST_F(ThrottleLine, StaysWhenNewLimitsAreRefused) {
    ThrottleLimits limits;
    limits.iops.maximum = 5;
    EXPECT_THROW(limit(limits), Error);
    EXPECT_EQ(group_->limits().iops.average, 10U);
    EXPECT_NE(first_.member.when(read), std::nullopt);
    EXPECT_FALSE(second_.wake.pending());
}

TEST_F(ThrottleLine, IsLeftForAnotherGroupsByJoiningThat) {
    const auto other = std::make_shared<ThrottleGroup>("other");
    ThrottleLimits limits;
    limits.iops_wr.average = 1;
    other->set_limits(limits, now_);
    first_.member.join(other);
    EXPECT_TRUE(first_.wake.pending());
    EXPECT_TRUE(first_.member.active());
    EXPECT_TRUE(first_.admit(now_)) << "reads are free there";
    expect_turn(second_);
}

TEST_F(ThrottleLine, OfReadsIsNotThatOfWrites) {
    EXPECT_FALSE(third_.member.admit(write, 512, now_));
    EXPECT_NE(third_.member.when(write), std::nullopt);
    EXPECT_EQ(third_.member.when(read), std::nullopt);
}

TEST(ThrottleMember, IsToldWhenItsThreadIsKnown) {
    const auto group = std::make_shared<ThrottleGroup>("disks");
    ThrottleMember member;
    member.join(group);
    const EventFd wake;
    member.set_wake(&wake);
    EXPECT_TRUE(wake.take());
    group->set_limits({}, TimePoint{});
    EXPECT_TRUE(wake.take());
    member.set_wake(nullptr);
    group->set_limits({}, TimePoint{});
    EXPECT_FALSE(wake.pending());
}

TEST(ThrottleGroups, AreOneForEachName) {
    ThrottleGroups groups;
    const auto first = groups.find_or_create("first");
    EXPECT_EQ(first->name(), "first");
    EXPECT_EQ(groups.find_or_create("first"), first);
    EXPECT_NE(groups.find_or_create("second"), first);
}

TEST(ThrottleGroups, AreForgottenWithTheirLastMember) {
    ThrottleGroups groups;
    ThrottleMember member;
    member.join(groups.find_or_create("disks"));
    ThrottleLimits limits;
    limits.iops.average = 10;
    groups.find_or_create("disks")->set_limits(limits, TimePoint{});
    EXPECT_EQ(groups.find_or_create("disks")->limits(), limits);
    member.leave();
    EXPECT_FALSE(groups.find_or_create("disks")->limits().any());
}

}  // namespace
}  // namespace viaduct::datapath
