// The fast path's sequence of operations, on the fake node.
#include "vdpa/datapath/fast_path.hpp"

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

class FastPathTest : public testing::Test {
protected:
    explicit FastPathTest(const std::string& recording = "vduse_block")
        : node_(load_recording(recording)), device_("/dev/vhost-vdpa-0", node_.open()) {
        node_.clear_log();
    }
    void start() {
        path_.prepare(device_.features());
        EXPECT_TRUE(path_.accept_features(device_.features()));
        path_.start(std::array{driver_.setup()}, notifiers_, config_call_);
    }

    FakeVhostNode node_;
    GuestMemory memory_;
    RingDriver driver_{memory_, 32, false};
    std::vector<datapath::QueueNotifiers> notifiers_{1};
    EventFd config_call_;
    vhost::VdpaDevice device_;
    datapath::FastPath path_{device_, memory_.space()};
};

TEST_F(FastPathTest, PreparesOneStatusBitAfterTheOtherAndThenTheFeatures) {
    path_.prepare(0x3'0000'0000);
    EXPECT_THAT(node_.log(),
                ElementsAre("SET_STATUS 0x1", "SET_STATUS 0x3", "SET_FEATURES 0x300000000"));
}

TEST_F(FastPathTest, ReadsFeaturesOkBack) {
    path_.prepare(device_.features());
    node_.clear_log();
    EXPECT_TRUE(path_.accept_features(0x3'0000'0000));
    EXPECT_THAT(node_.log(),
                ElementsAre("SET_FEATURES 0x300000000", "SET_STATUS 0xb", "GET_STATUS"));
}

TEST_F(FastPathTest, SaysThatTheDeviceDoesNotKeepFeaturesOk) {
    node_.refuse_features_ok();
    path_.prepare(device_.features());
    EXPECT_FALSE(path_.accept_features(device_.features()));
}

TEST_F(FastPathTest, GivesMemoryOnce) {
    path_.provide_memory();
    path_.provide_memory();
    EXPECT_THAT(node_.log_of("IOTLB_UPDATE"), ElementsAre("IOTLB_UPDATE 0x100000 0x1000000"));
}

TEST_F(FastPathTest, GivesMemoryAtTheStartAtTheLatest) {
    start();
    EXPECT_TRUE(node_.reaches(memory_.region().iova.value, memory_.region().bytes.size()));
}

TEST_F(FastPathTest, TakesTheGuestsMemoryAwayOnce) {
    start();
    path_.reset();
    node_.clear_log();
    path_.release_memory();
    path_.release_memory();
    EXPECT_THAT(node_.log_of("IOTLB_INVALIDATE"),
                ElementsAre("IOTLB_INVALIDATE 0x100000 0x1000000"));
}

TEST_F(FastPathTest, TakesNothingAwayThatItNeverGave) {
    path_.release_memory();
    EXPECT_THAT(node_.log(), IsEmpty());
}

TEST_F(FastPathTest, ADeviceThatDoesNotStartIsAnErrorWithItsStatus) {
    path_.prepare(device_.features());
    EXPECT_TRUE(path_.accept_features(device_.features()));
    node_.demand_reset();
    EXPECT_THAT([&] { path_.start(std::array{driver_.setup()}, notifiers_, config_call_); },
                ThrowsMessage<Error>(
                    HasSubstr("/dev/vhost-vdpa-0 did not start: its status is 0x4f, 0xf")));
}

}  // namespace
}  // namespace viaduct::test
