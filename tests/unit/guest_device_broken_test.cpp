// GuestDevice: the device behind fails. Its guest is told (NEEDS_RESET, a configuration interrupt),
// the operator is told, and the guest's next reset tries again from the start.
#include <cerrno>

#include "tests/unit/guest_device_world.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using State = datapath::GuestDevice::State;

/// A device that failed at DRIVER_OK.
class BrokenDevice : public testing::Test {
protected:
    explicit BrokenDevice(const std::string& recording = "vduse_block") : world_(recording) {}
    void break_it() {
        world_.guest();
        world_.node.fail_next("SET_VRING_CALL", EIO);
        EXPECT_FALSE(world_.run());
    }

    GuestWorld world_;
};

TEST_F(BrokenDevice, TellsTheGuestAndTheOperatorOnce) {
    break_it();
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_TRUE(world_.guest().needs_reset());
    EXPECT_TRUE(world_.guest().config_call().take());
    EXPECT_THAT(world_.broken(),
                ElementsAre(AllOf(HasSubstr("start"), HasSubstr("VHOST_SET_VRING_CALL"),
                                  HasSubstr(GuestWorld::path), HasSubstr("Input/output error"))));
}

TEST_F(BrokenDevice, IsClosed) {
    break_it();
    EXPECT_FALSE(world_.node.is_open());
}

TEST_F(BrokenDevice, AnswersWithoutTheDevice) {
    break_it();
    world_.node.clear_log();
    std::array<std::byte, 4> bytes{};
    world_.guest().read_config(0, bytes);
    EXPECT_THAT(bytes, Each(std::byte{0xff}));
    world_.guest().write_config(0, bytes);
    EXPECT_FALSE(world_.guest().accept_features(world_.guest().offered_features()));
    EXPECT_FALSE(world_.guest().start(world_.setups()));
    world_.guest().stop();
    world_.guest().resume();
    EXPECT_THAT(world_.node.log(), IsEmpty());
    EXPECT_THAT(world_.broken(), SizeIs(1));
}

TEST_F(BrokenDevice, StaysWhatItWasToTheGuest) {
    break_it();
    EXPECT_EQ(world_.guest().device_id(), 2U);
    EXPECT_EQ(world_.guest().queue_count(), 1U);
    EXPECT_EQ(world_.guest().config_size(), 0x3cU);
    EXPECT_EQ(world_.guest().offered_features() & virtio::feature::version_1,
              virtio::feature::version_1);
}

TEST_F(BrokenDevice, TheGuestsResetOpensItAgainAndItWorks) {
    break_it();
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::idle);
    EXPECT_FALSE(world_.guest().needs_reset());
    EXPECT_TRUE(world_.node.is_open());
    ASSERT_TRUE(world_.run());
    world_.node.serve();
    EXPECT_TRUE(world_.does_io());
    EXPECT_TRUE(world_.node.change_config(0, {}));
    EXPECT_THAT(world_.broken(), SizeIs(1));
}

TEST_F(BrokenDevice, StaysBrokenWhileItCannotBeOpened) {
    break_it();
    auto other = world_.node.open();
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_TRUE(world_.guest().needs_reset());
    for (unsigned again = 0; again < 100; ++again) world_.reset();
    EXPECT_THAT(world_.broken(), ElementsAre(testing::_, HasSubstr("busy")))
        << "a guest that resets in a loop floods whoever listens";
    other.reset();
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::idle);
    ASSERT_TRUE(world_.run());
    world_.reset();
    break_it();
    EXPECT_THAT(world_.broken(), SizeIs(3)) << "it has served in between";
}

TEST_F(BrokenDevice, AnotherDeviceInItsPlaceIsRefused) {
    break_it();
    const auto before = world_.node.answers;
    world_.node.answers.queue_sizes = {128};
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_THAT(world_.broken(),
                ElementsAre(testing::_, AllOf(HasSubstr(GuestWorld::path),
                                              HasSubstr("another one than before"))));
    EXPECT_FALSE(world_.node.is_open());
    world_.node.answers = before;
    world_.reset();
    EXPECT_TRUE(world_.run());
}

struct Difference {
    std::string name;
    std::function<void(FakeVhostNode::Answers&)> make;
};
void PrintTo(const Difference& difference, std::ostream* out) {
    *out << difference.name;
}

class ReopenedDevice : public BrokenDevice, public testing::WithParamInterface<Difference> {};

TEST_P(ReopenedDevice, MustBeTheSame) {
    break_it();
    GetParam().make(world_.node.answers);
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::broken);
}

INSTANTIATE_TEST_SUITE_P(
    Differences, ReopenedDevice,
    testing::Values(Difference{"Type", [](auto& answers) { answers.device_id = 1; }},
                    Difference{"Features", [](auto& answers) { answers.features ^= 1U << 6; }},
                    Difference{"ConfigSize", [](auto& answers) { answers.config.resize(8); }},
                    Difference{"QueueCount",
                               [](auto& answers) {
                                   answers.queue_sizes = {256, 256};
                               }},
                    Difference{"QueueSize", [](auto& answers) { answers.queue_sizes = {64}; }}),
    [](const auto& difference) { return difference.param.name; });

TEST_F(BrokenDevice, AResetThatFailsBreaksItAndTheNextMendsIt) {
    ASSERT_TRUE(world_.run());
    world_.node.fail_next("SET_STATUS", EIO);
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_THAT(world_.broken(), ElementsAre(HasSubstr("VHOST_VDPA_SET_STATUS")));
    EXPECT_EQ(world_.node.log_of("vCPUs paused").size(),
              world_.node.log_of("vCPUs resumed").size());
    world_.reset();
    EXPECT_TRUE(world_.run());
}

TEST_F(BrokenDevice, MemoryThatCannotBeMappedAgainIsAFailureOfTheDeviceAlone) {
    ASSERT_TRUE(world_.run());
    world_.reset();
    world_.node.fail_next("IOTLB_UPDATE", ENOSPC);
    EXPECT_FALSE(world_.run());
    EXPECT_THAT(world_.broken(), ElementsAre(HasSubstr("16982016 bytes")));
    world_.reset();
    EXPECT_TRUE(world_.run());
}

class DeviceWithDoorbells : public BrokenDevice {
protected:
    DeviceWithDoorbells() : BrokenDevice("vp_vdpa_block_two_queues") {}
};

TEST_F(DeviceWithDoorbells, HandsOutTheDevicesOwnPages) {
    ASSERT_TRUE(world_.run());
    for (unsigned queue = 0; queue < 2; ++queue) {
        const auto page = world_.guest().doorbell_page(queue);
        ASSERT_FALSE(page.empty());
        page[0] = std::byte{0x77};
        EXPECT_EQ(world_.node.doorbell(queue)[0], std::byte{0x77});
    }
}

TEST_F(DeviceWithDoorbells, KeepsThePagesOverAReset) {
    ASSERT_TRUE(world_.run());
    const auto before = world_.guest().doorbell_page(0);
    ASSERT_FALSE(before.empty());
    world_.reset();
    EXPECT_TRUE(world_.guest().doorbell_page(0).empty()) << "a device that does not run";
    ASSERT_TRUE(world_.run());
    EXPECT_EQ(world_.guest().doorbell_page(0).data(), before.data());
}

TEST_F(DeviceWithDoorbells, StaysOpenWhileItIsBrokenSinceThePagesAreStillInTheGuest) {
    ASSERT_TRUE(world_.run());
    const auto page = world_.guest().doorbell_page(0);
    world_.node.fail_next("GET_CONFIG", EIO);
    std::array<std::byte, 1> byte{};
    world_.guest().read_config(0, byte);
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_TRUE(world_.node.is_open());
    page[0] = std::byte{1};  // still there
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::idle);
    EXPECT_TRUE(world_.run());
    world_.guest().doorbell_page(1)[0] = std::byte{2};
    EXPECT_EQ(world_.node.doorbell(1)[0], std::byte{2});
}

TEST_F(DeviceWithDoorbells, ShowsNoPagesOnTheSlowPathAndTakesThemOutBeforeTheSwitch) {
    ASSERT_TRUE(world_.run());
    world_.guest().set_doorbell_listener([this] {
        world_.node.note(world_.guest().doorbell_page(0).empty() ? "doorbells out"
                                                                 : "doorbells in");
    });
    world_.node.clear_log();
    const auto set = [this](datapath::Policy policy) {
        std::promise<bool> done;
        world_.guest().set_policy(policy, {}, [&](const datapath::SwitchOutcome& outcome) {
            done.set_value(std::holds_alternative<datapath::SwitchReport>(outcome));
        });
        return done.get_future().get();
    };
    EXPECT_TRUE(set(datapath::Policy::slow));
    EXPECT_EQ(world_.node.log().at(0), "doorbells out");
    EXPECT_THAT(world_.node.log_of("doorbells in"), IsEmpty());
    world_.node.clear_log();
    EXPECT_TRUE(set(datapath::Policy::fast));
    EXPECT_EQ(world_.node.log().back(), "doorbells in");
    world_.guest().set_doorbell_listener({});
}

TEST_F(DeviceWithDoorbells, IsClosedWhenItBreaksOnTheSlowPathSinceNoPageIsInTheGuest) {
    ASSERT_TRUE(world_.run());
    std::promise<void> done;
    world_.guest().set_policy(datapath::Policy::slow, {}, [&](const auto&) { done.set_value(); });
    done.get_future().wait();
    ASSERT_EQ(world_.guest().state(), State::slow);
    world_.node.fail_next("GET_CONFIG", EIO);
    std::array<std::byte, 1> byte{};
    world_.guest().read_config(0, byte);
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_FALSE(world_.node.is_open());
    world_.reset();
    EXPECT_TRUE(world_.run());
}

TEST_F(DeviceWithDoorbells, HasNoPagesWhileItCannotBeOpenedAgain) {
    ASSERT_TRUE(world_.run());
    EXPECT_FALSE(world_.guest().doorbell_page(0).empty());
    world_.node.fail_next("GET_CONFIG", EIO);
    std::array<std::byte, 1> byte{};
    world_.guest().read_config(0, byte);
    EXPECT_EQ(world_.guest().state(), State::broken);
    world_.node.answers.config.resize(8);
    world_.reset();
    EXPECT_EQ(world_.guest().state(), State::broken);
    EXPECT_TRUE(world_.guest().doorbell_page(0).empty());
}

}  // namespace
}  // namespace viaduct::test
