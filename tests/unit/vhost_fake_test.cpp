// The fake in the kernel's place is as the real thing: it answers as recorded, and it keeps the
// rules that a recording cannot show.
#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/event_fd.hpp"
#include "devices/virtio/spec.hpp"
#include "tests/support/fake_vhost_node.hpp"
#include "tests/support/vhost_recording.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/vhost/uapi.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;

std::vector<std::string> recording_names() {
    std::vector<std::string> names;
    const std::string folder = std::string(VIADUCT_SOURCE_DIR) + "/tests/recordings";
    for (const auto& file : std::filesystem::directory_iterator(folder)) {
        if (file.path().extension() == ".txt") names.push_back(file.path().stem());
    }
    std::sort(names.begin(), names.end());
    return names;
}

class FakeVhostNodeOf : public testing::TestWithParam<std::string> {};

TEST_P(FakeVhostNodeOf, AnswersAsTheRealDeviceDid) {
    const std::string recording = load_recording(GetParam());
    FakeVhostNode fake(recording);
    EXPECT_EQ(record_vhost_node(*fake.open()), recording);
}

INSTANTIATE_TEST_SUITE_P(Recordings, FakeVhostNodeOf, testing::ValuesIn(recording_names()),
                         [](const auto& recording) { return recording.param; });

TEST(VhostRecordings, AreThereForEveryKindOfDevice) {
    EXPECT_THAT(recording_names(),
                testing::IsSupersetOf({"vduse_block", "vdpa_sim_block", "vdpa_sim_net",
                                       "vp_vdpa_block", "vduse_block_two_queues"}));
}

/// A node with a driver that makes one call at a time.
class FakeVhostRules : public testing::Test {
protected:
    explicit FakeVhostRules(const std::string& recording = "vduse_block")
        : fake_(load_recording(recording)), node_(fake_.open()) {
        EXPECT_EQ(call(VHOST_SET_OWNER, 0), 0);
    }

    /// The errno, 0 when it went well.
    template <typename T>
    int call(unsigned long request, T argument) {
        return node_->ioctl(request, &argument) == 0 ? 0 : errno;
    }
    int vring(unsigned long request, unsigned queue, std::uint32_t number) {
        return call(request, vhost_vring_state{queue, number});
    }
    int set_status(std::uint8_t status) { return call(VHOST_VDPA_SET_STATUS, status); }
    int iotlb(std::uint8_t type, std::uint64_t iova = 0, std::span<std::byte> memory = {}) {
        vhost_msg_v2 message{};
        message.type = VHOST_IOTLB_MSG_V2;
        message.iotlb.type = type;
        message.iotlb.iova = iova;
        message.iotlb.size = memory.size();
        message.iotlb.uaddr = reinterpret_cast<std::uintptr_t>(memory.data());
        message.iotlb.perm = VHOST_ACCESS_RW;
        return node_->write(std::as_bytes(std::span(&message, 1))) ? 0 : errno;
    }
    void map_guest_memory() {
        EXPECT_EQ(iotlb(VHOST_IOTLB_UPDATE, memory_.region().iova.value, memory_.region().bytes),
                  0);
    }
    void unmap_guest_memory() {
        EXPECT_EQ(
            iotlb(VHOST_IOTLB_INVALIDATE, memory_.region().iova.value, memory_.region().bytes), 0);
    }
    void place_ring(bool enabled) {
        const auto& setup = driver_.setup();
        vhost_vring_addr ring{};
        ring.desc_user_addr = setup.descriptors.value;
        ring.avail_user_addr = setup.driver_area.value;
        ring.used_user_addr = setup.device_area.value;
        EXPECT_EQ(vring(VHOST_SET_VRING_NUM, 0, setup.size), 0);
        EXPECT_EQ(call(VHOST_SET_VRING_ADDR, ring), 0);
        EXPECT_EQ(call(VHOST_SET_VRING_CALL, vhost_vring_file{0, driver_.call_event().fd()}), 0);
        EXPECT_EQ(vring(VHOST_VDPA_SET_VRING_ENABLE, 0, enabled ? 1 : 0), 0);
    }
    void post_request() {
        driver_.add(std::array{Buffer{memory_.allocate(512), 512, true}});
        driver_.publish();
    }

    GuestMemory memory_;
    RingDriver driver_{memory_, 16, false};
    FakeVhostNode fake_;
    std::unique_ptr<vhost::Node> node_;
};

TEST_F(FakeVhostRules, OpensOnce) {
    EXPECT_THROW((void)fake_.open(), SystemError);
    node_.reset();
    EXPECT_NE(fake_.open(), nullptr);
}

TEST_F(FakeVhostRules, LogsCallsWithTheirArguments) {
    fake_.clear_log();
    set_status(virtio::status::acknowledge);
    vring(VHOST_SET_VRING_NUM, 0, 128);
    iotlb(VHOST_IOTLB_BATCH_BEGIN);
    EXPECT_THAT(fake_.log(),
                ElementsAre("SET_STATUS 0x1", "SET_VRING_NUM 0 128", "IOTLB_BATCH_BEGIN"));
    EXPECT_THAT(fake_.log_of("SET_V"), ElementsAre("SET_VRING_NUM 0 128"));
}

TEST_F(FakeVhostRules, AFailureThatWasAskedForHappensOnce) {
    fake_.fail_next("SET_STATUS", EIO);
    EXPECT_EQ(set_status(virtio::status::acknowledge), EIO);
    EXPECT_EQ(fake_.status(), 0);
    EXPECT_EQ(set_status(virtio::status::acknowledge), 0);
}

TEST_F(FakeVhostRules, RingCallsNeedAnOwner) {
    node_.reset();
    node_ = fake_.open();
    EXPECT_EQ(vring(VHOST_SET_VRING_NUM, 0, 128), EPERM);
    EXPECT_EQ(iotlb(VHOST_IOTLB_BATCH_BEGIN), EFAULT);
}

TEST_F(FakeVhostRules, WithoutTheMemoryTheRingIsDead) {
    place_ring(true);
    set_status(virtio::status::driver_ok);
    post_request();
    EXPECT_EQ(fake_.complete(0), 0U);
}

TEST_F(FakeVhostRules, UsesWhatIsAvailableAndInterrupts) {
    map_guest_memory();
    place_ring(true);
    set_status(virtio::status::driver_ok);
    post_request();
    post_request();
    EXPECT_EQ(fake_.complete(0), 2U);
    EXPECT_TRUE(driver_.call_event().take());
    EXPECT_TRUE(driver_.take_used().has_value());
    EXPECT_TRUE(driver_.take_used().has_value());
    EXPECT_FALSE(driver_.take_used().has_value());
    EXPECT_EQ(fake_.complete(0), 0U);
    EXPECT_FALSE(driver_.call_event().take());
}

TEST_F(FakeVhostRules, ARingEnabledAfterDriverOkStaysDead) {
    map_guest_memory();
    place_ring(false);
    set_status(virtio::status::driver_ok);
    EXPECT_EQ(vring(VHOST_VDPA_SET_VRING_ENABLE, 0, 1), 0);
    post_request();
    EXPECT_EQ(fake_.complete(0), 0U);
}

TEST_F(FakeVhostRules, AStaleBaseSpoilsTheRing) {
    map_guest_memory();
    place_ring(true);
    EXPECT_EQ(vring(VHOST_SET_VRING_BASE, 0, 1), 0);
    set_status(virtio::status::driver_ok);
    post_request();
    EXPECT_EQ(fake_.complete(0), 0U);
}

TEST_F(FakeVhostRules, RingsCannotChangeWhileTheDeviceRuns) {
    set_status(virtio::status::driver_ok);
    EXPECT_EQ(call(VHOST_SET_VRING_ADDR, vhost_vring_addr{}), EINVAL);
    EXPECT_EQ(vring(VHOST_SET_VRING_BASE, 0, 0), EINVAL);
    EXPECT_EQ(vring(VHOST_GET_VRING_BASE, 0, 0), EINVAL);
}

TEST_F(FakeVhostRules, AResetForgetsCallsAndKeepsKicks) {
    const EventFd kick;
    const EventFd config_call;
    map_guest_memory();
    place_ring(true);
    call(VHOST_SET_VRING_KICK, vhost_vring_file{0, kick.fd()});
    call(VHOST_VDPA_SET_CONFIG_CALL, config_call.fd());
    EXPECT_TRUE(fake_.interrupt(0));
    EXPECT_TRUE(fake_.change_config(0, {}));
    set_status(0);
    EXPECT_FALSE(fake_.interrupt(0));
    EXPECT_FALSE(fake_.change_config(0, {}));
    unmap_guest_memory();
    map_guest_memory();
    place_ring(true);
    set_status(virtio::status::driver_ok);
    post_request();
    fake_.serve();
    kick.signal();
    EXPECT_TRUE(driver_.wait_used().has_value());
}

TEST_F(FakeVhostRules, WithoutPersistAResetLosesTheMapButVhostKeepsItsOwn) {
    map_guest_memory();
    set_status(0);
    EXPECT_FALSE(fake_.reaches(memory_.region().iova.value, 1));
    EXPECT_EQ(iotlb(VHOST_IOTLB_UPDATE, memory_.region().iova.value, memory_.region().bytes),
              EFAULT);
    unmap_guest_memory();
    map_guest_memory();
    EXPECT_TRUE(fake_.reaches(memory_.region().iova.value, 1));
}

TEST_F(FakeVhostRules, CountsResetsWithRequestsInFlight) {
    map_guest_memory();
    place_ring(true);
    set_status(virtio::status::driver_ok);
    post_request();
    set_status(0);
    EXPECT_EQ(fake_.resets_in_flight(), 1U);
    set_status(0);
    EXPECT_EQ(fake_.resets_in_flight(), 1U);
}

TEST_F(FakeVhostRules, PrivateMemoryIsNotMappedAndNobodySaysSo) {
    const Mapping own("private memory", 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    EXPECT_EQ(iotlb(VHOST_IOTLB_UPDATE, 0, own.bytes()), 0);
    EXPECT_FALSE(fake_.reaches(0, 1));
    map_guest_memory();
    EXPECT_TRUE(fake_.reaches(memory_.region().iova.value, memory_.region().bytes.size()));
    EXPECT_FALSE(fake_.reaches(memory_.region().iova.value, memory_.region().bytes.size() + 1));
}

TEST_F(FakeVhostRules, ABatchCountsWhenItEnds) {
    EXPECT_EQ(iotlb(VHOST_IOTLB_BATCH_BEGIN), 0);
    map_guest_memory();
    EXPECT_FALSE(fake_.reaches(memory_.region().iova.value, 1));
    EXPECT_EQ(iotlb(VHOST_IOTLB_BATCH_END), 0);
    EXPECT_TRUE(fake_.reaches(memory_.region().iova.value, 1));
}

TEST_F(FakeVhostRules, MemoryOutsideTheIovaRangeIsRefused) {
    FakeVhostNode hardware(load_recording("vp_vdpa_block"));
    node_ = hardware.open();
    call(VHOST_SET_OWNER, 0);
    EXPECT_EQ(iotlb(VHOST_IOTLB_UPDATE, hardware.answers.last_iova - 4096, memory_.region().bytes),
              EFAULT);
    node_.reset();
}

TEST_F(FakeVhostRules, ReadingConfigBeforeSetFeaturesAcceptsNone) {
    std::array<std::byte, sizeof(vhost_vdpa_config) + 1> request{};
    request[4] = std::byte{1};
    EXPECT_EQ(node_->ioctl(VHOST_VDPA_GET_CONFIG, request.data()), 0);
    EXPECT_EQ(fake_.accepted_features(), 0U);
}

TEST_F(FakeVhostRules, BackendFeaturesThatWereNotOfferedAreRefused) {
    EXPECT_EQ(call(VHOST_SET_BACKEND_FEATURES, std::uint64_t{1} << VHOST_BACKEND_F_SUSPEND),
              EOPNOTSUPP);
}

TEST_F(FakeVhostRules, SuspendNeedsItsBackendFeature) {
    set_status(virtio::status::driver_ok);
    EXPECT_EQ(node_->ioctl(VHOST_VDPA_SUSPEND, nullptr), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
}

class FakeVhostSuspend : public FakeVhostRules {
protected:
    FakeVhostSuspend() : FakeVhostRules("vdpa_sim_block") {
        EXPECT_EQ(call(VHOST_SET_BACKEND_FEATURES, fake_.answers.backend_features), 0);
    }
};

TEST_F(FakeVhostSuspend, TheRingBaseTellsWhereASuspendedDeviceStands) {
    map_guest_memory();
    place_ring(true);
    set_status(virtio::status::driver_ok);
    post_request();
    EXPECT_EQ(fake_.complete(0), 1U);
    EXPECT_EQ(node_->ioctl(VHOST_VDPA_SUSPEND, nullptr), 0);
    post_request();
    EXPECT_EQ(fake_.complete(0), 0U);
    vhost_vring_state state{};
    EXPECT_EQ(node_->ioctl(VHOST_GET_VRING_BASE, &state), 0);
    EXPECT_EQ(state.num, 1U);
    EXPECT_EQ(node_->ioctl(VHOST_VDPA_RESUME, nullptr), 0);
    EXPECT_EQ(fake_.complete(0), 1U);
}

TEST_F(FakeVhostSuspend, TheMapPersistsOverAReset) {
    map_guest_memory();
    set_status(0);
    EXPECT_TRUE(fake_.reaches(memory_.region().iova.value, 1));
    EXPECT_EQ(iotlb(VHOST_IOTLB_UPDATE, memory_.region().iova.value, memory_.region().bytes),
              EFAULT);
}

}  // namespace
}  // namespace viaduct::test
