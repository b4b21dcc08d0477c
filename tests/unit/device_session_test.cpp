// The driver's sequence of operations, on the fake node.
#include "vdpa/datapath/device_session.hpp"

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "tests/support/fake_vhost_node.hpp"
#include "tests/support/vhost_recording.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/vhost/vdpa_device.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

class DeviceSessionTest : public testing::Test {
protected:
    explicit DeviceSessionTest(const std::string& recording = "vduse_block")
        : node_(load_recording(recording)), device_("/dev/vhost-vdpa-0", node_.open()) {
        node_.clear_log();
    }
    void start() {
        session_.prepare(device_.features());
        EXPECT_TRUE(session_.accept_features(device_.features()));
        session_.set_up(rings(), config_call_);
        session_.go();
    }
    [[nodiscard]] std::array<datapath::RingWiring, 1> rings() const {
        return {{{driver_.setup(), {0}, &kick_, &call_}}};
    }

    FakeVhostNode node_;
    GuestMemory memory_;
    RingDriver driver_{memory_, 32, false};
    EventFd kick_;
    EventFd call_;
    EventFd config_call_;
    vhost::VdpaDevice device_;
    datapath::DeviceSession session_{device_, {memory_.region()}};
};

TEST_F(DeviceSessionTest, PreparesOneStatusBitAfterTheOtherAndThenTheFeatures) {
    session_.prepare(0x3'0000'0000);
    EXPECT_THAT(node_.log(),
                ElementsAre("SET_STATUS 0x1", "SET_STATUS 0x3", "SET_FEATURES 0x300000000"));
}

TEST_F(DeviceSessionTest, ReadsFeaturesOkBack) {
    session_.prepare(device_.features());
    node_.clear_log();
    EXPECT_TRUE(session_.accept_features(0x3'0000'0000));
    EXPECT_THAT(node_.log(),
                ElementsAre("SET_FEATURES 0x300000000", "SET_STATUS 0xb", "GET_STATUS"));
}

TEST_F(DeviceSessionTest, SaysThatTheDeviceDoesNotKeepFeaturesOk) {
    node_.refuse_features_ok();
    session_.prepare(device_.features());
    EXPECT_FALSE(session_.accept_features(device_.features()));
}

TEST_F(DeviceSessionTest, GivesMemoryOnce) {
    session_.provide_memory();
    session_.provide_memory();
    EXPECT_THAT(node_.log_of("IOTLB_UPDATE"), ElementsAre("IOTLB_UPDATE 0x100000 0x1000000"));
}

TEST_F(DeviceSessionTest, GivesMemoryAtTheStartAtTheLatest) {
    start();
    EXPECT_TRUE(node_.reaches(memory_.region().iova.value, memory_.region().bytes.size()));
}

TEST_F(DeviceSessionTest, TakesTheGuestsMemoryAwayOnce) {
    start();
    session_.reset();
    node_.clear_log();
    session_.release_memory();
    session_.release_memory();
    EXPECT_THAT(node_.log_of("IOTLB_INVALIDATE"),
                ElementsAre("IOTLB_INVALIDATE 0x100000 0x1000000"));
}

TEST_F(DeviceSessionTest, TakesNothingAwayThatItNeverGave) {
    session_.release_memory();
    EXPECT_THAT(node_.log(), IsEmpty());
}

TEST_F(DeviceSessionTest, ADeviceThatDoesNotStartIsAnErrorWithItsStatus) {
    session_.prepare(device_.features());
    EXPECT_TRUE(session_.accept_features(device_.features()));
    node_.demand_reset();
    session_.set_up(rings(), config_call_);
    EXPECT_THAT([&] { session_.go(); },
                ThrowsMessage<Error>(
                    HasSubstr("/dev/vhost-vdpa-0 did not start: its status is 0x4f, 0xf")));
}

}  // namespace
}  // namespace viaduct::test
