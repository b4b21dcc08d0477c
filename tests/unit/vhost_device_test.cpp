// VdpaDevice: each operation is one ioctl, with the argument that vhost-vdpa wants.
#include <sys/resource.h>

#include <array>
#include <cerrno>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "tests/support/fake_vhost_node.hpp"
#include "tests/support/vhost_recording.hpp"
#include "vdpa/vhost/uapi.hpp"
#include "vdpa/vhost/vdpa_device.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

constexpr const char* node_path = "/dev/vhost-vdpa-7";

/// Two pieces of guest memory with a gap between them.
class TwoRegions {
public:
    static constexpr std::size_t size = std::size_t{64} * 1024;
    static constexpr std::uint64_t first = 0x10'0000;
    static constexpr std::uint64_t second = 0x1000'0000;

    [[nodiscard]] std::array<MemoryRegion, 2> regions() const {
        return {MemoryRegion{Iova{first}, mapping_.bytes().first(size)},
                MemoryRegion{Iova{second}, mapping_.bytes().last(size)}};
    }

private:
    Mapping mapping_{"guest memory", 2 * size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS};
};

class VhostVdpa : public testing::Test {
protected:
    /// The device on the fake; what a test changes in answers comes before.
    vhost::VdpaDevice& device() {
        if (!device_) {
            device_ = std::make_unique<vhost::VdpaDevice>(node_path, fake_.open());
            fake_.clear_log();
        }
        return *device_;
    }
    static FakeVhostNode::Answers answers_of(const std::string& recording) {
        return FakeVhostNode(load_recording(recording)).answers;
    }

    FakeVhostNode fake_{load_recording("vduse_block")};
    std::unique_ptr<vhost::VdpaDevice> device_;
    TwoRegions memory_;
};

TEST_F(VhostVdpa, AsksWhatTheDeviceIsRightAfterOpening) {
    device_ = std::make_unique<vhost::VdpaDevice>(node_path, fake_.open());
    EXPECT_THAT(fake_.log(),
                ElementsAre("open", "GET_DEVICE_ID", "GET_FEATURES", "SET_OWNER",
                            "GET_BACKEND_FEATURES", "SET_BACKEND_FEATURES 0x6", "GET_CONFIG_SIZE",
                            "GET_IOVA_RANGE", "GET_VQS_COUNT", "GET_VRING_SIZE 0"));
}

TEST_F(VhostVdpa, KnowsWhatTheDeviceSaysOfItself) {
    fake_.answers = answers_of("vp_vdpa_block_two_queues");
    EXPECT_EQ(device().name(), node_path);
    EXPECT_EQ(device().device_id(), 2U);
    EXPECT_EQ(device().features(), 0x10330007e54U);
    EXPECT_EQ(device().config_size(), 0x1000U);
    EXPECT_EQ(device().queue_count(), 2U);
    EXPECT_EQ(device().max_queue_size(1), 256);
    EXPECT_EQ(device().iova_range().first, Iova{0});
    EXPECT_EQ(device().iova_range().last, Iova{0x7fffffffff});
}

TEST_F(VhostVdpa, QueueCountAndQueueSizesAreTheDevices) {
    fake_.answers.queue_sizes = {256, 64, 1024};
    EXPECT_EQ(device().queue_count(), 3U);
    EXPECT_EQ(device().max_queue_size(0), 256);
    EXPECT_EQ(device().max_queue_size(1), 64);
    EXPECT_EQ(device().max_queue_size(2), 1024);
}

TEST_F(VhostVdpa, ReadsVringNumAsTheU16ThatItIs) {
    fake_.answers = answers_of("vdpa_sim_net");
    ASSERT_THAT(fake_.answers.queue_sizes, ElementsAre(0U, 0U, 0U));
    EXPECT_EQ(device().queue_count(), 3U);
    for (unsigned queue = 0; queue < 3; ++queue) EXPECT_EQ(device().max_queue_size(queue), 256);
}

TEST_F(VhostVdpa, AQueueIsNeverLongerThanVirtioAllows) {
    fake_.answers.queue_sizes = {0x10000};
    EXPECT_EQ(device().max_queue_size(0), 0x8000);
}

TEST_F(VhostVdpa, TakesTheBackendFeaturesThatAreOfferedAndKnown) {
    fake_.answers.backend_features = 0x1ff;
    device_ = std::make_unique<vhost::VdpaDevice>(node_path, fake_.open());
    EXPECT_THAT(fake_.log_of("SET_BACKEND"), ElementsAre("SET_BACKEND_FEATURES 0x136"));
}

TEST_F(VhostVdpa, SupportsWhatTheBackendFeaturesSay) {
    EXPECT_FALSE(device().supports_suspend());
    EXPECT_FALSE(device().supports_resume());
    EXPECT_FALSE(device().keeps_map_over_reset());
}

TEST_F(VhostVdpa, TheSimulatorSuspendsAndResumesAndKeepsItsMap) {
    fake_.answers = answers_of("vdpa_sim_block");
    EXPECT_TRUE(device().supports_suspend());
    EXPECT_TRUE(device().supports_resume());
    EXPECT_TRUE(device().keeps_map_over_reset());
}

TEST_F(VhostVdpa, EveryOperationIsOneIoctlWithItsArgument) {
    fake_.answers = answers_of("vdpa_sim_block");
    vhost::VdpaDevice& vdpa = device();
    const EventFd event;
    vdpa.set_status(virtio::status::acknowledge);
    vdpa.set_features(fake_.answers.features);
    EXPECT_EQ(vdpa.status(), virtio::status::acknowledge);
    vdpa.set_queue_size(0, 128);
    vdpa.set_ring_addresses(0, {Iova{0x1000}, Iova{0x2000}, Iova{0x1'0000'3000}});
    vdpa.set_ring_state(0, vdpa::SplitRingState{7});
    vdpa.set_kick(0, event);
    vdpa.set_call(0, event);
    vdpa.set_config_call(event);
    vdpa.enable_queue(0, true);
    vdpa.enable_queue(0, false);
    vdpa.set_status(virtio::status::acknowledge | virtio::status::driver_ok);
    vdpa.suspend();
    EXPECT_EQ(std::get<vdpa::SplitRingState>(vdpa.ring_state(0)).avail_index, 7);
    vdpa.resume();
    vdpa.reset();
    EXPECT_THAT(
        fake_.log(),
        ElementsAre("SET_STATUS 0x1", "SET_FEATURES 0x308007646", "GET_STATUS",
                    "SET_VRING_NUM 0 128", "SET_VRING_ADDR 0 0x1000 0x2000 0x100003000",
                    "SET_VRING_BASE 0 7", "SET_VRING_KICK 0", "SET_VRING_CALL 0", "SET_CONFIG_CALL",
                    "SET_VRING_ENABLE 0 1", "SET_VRING_ENABLE 0 0", "SET_STATUS 0x5", "SUSPEND",
                    "GET_VRING_BASE 0", "RESUME", "SET_STATUS 0x0"));
}

TEST_F(VhostVdpa, HandsTheKernelTheEventfdsThatItWasGiven) {
    const EventFd call;
    const EventFd config_call;
    device().set_call(0, call);
    device().set_config_call(config_call);
    EXPECT_TRUE(fake_.interrupt(0));
    EXPECT_TRUE(call.take());
    EXPECT_FALSE(config_call.pending());
    EXPECT_TRUE(fake_.change_config(0, {}));
    EXPECT_TRUE(config_call.take());
    EXPECT_FALSE(call.pending());
}

TEST_F(VhostVdpa, ReadsAndWritesConfigByteExact) {
    std::array<std::byte, 3> bytes{};
    device().read_config(1, bytes);
    EXPECT_THAT(bytes, ElementsAre(std::byte{0}, std::byte{2}, std::byte{0}));
    device().write_config(32, std::array{std::byte{1}});
    device().write_config(33, std::array{std::byte{2}, std::byte{3}});
    EXPECT_THAT(fake_.log_of("GET_CONFIG"), ElementsAre("GET_CONFIG 1 3"));
    EXPECT_THAT(fake_.config_writes(),
                ElementsAre(testing::Pair(32, ElementsAre(std::byte{1})),
                            testing::Pair(33, ElementsAre(std::byte{2}, std::byte{3}))));
}

TEST_F(VhostVdpa, MapsAllOfMemoryInOneBatch) {
    device().map(memory_.regions());
    EXPECT_THAT(fake_.log(), ElementsAre("IOTLB_BATCH_BEGIN", "IOTLB_UPDATE 0x100000 0x10000",
                                         "IOTLB_UPDATE 0x10000000 0x10000", "IOTLB_BATCH_END"));
    EXPECT_TRUE(fake_.reaches(TwoRegions::first, TwoRegions::size));
    EXPECT_TRUE(fake_.reaches(TwoRegions::second, TwoRegions::size));
}

TEST_F(VhostVdpa, UnmapsAllOfMemoryInOneBatch) {
    device().map(memory_.regions());
    fake_.clear_log();
    device().unmap(memory_.regions());
    EXPECT_THAT(fake_.log(), ElementsAre("IOTLB_BATCH_BEGIN", "IOTLB_INVALIDATE 0x100000 0x10000",
                                         "IOTLB_INVALIDATE 0x10000000 0x10000", "IOTLB_BATCH_END"));
    EXPECT_FALSE(fake_.reaches(TwoRegions::first, 1));
}

TEST_F(VhostVdpa, SendsNoBatchToAKernelThatKnowsNone) {
    fake_.answers.backend_features = 1U << VHOST_BACKEND_F_IOTLB_MSG_V2;
    device().map(memory_.regions());
    EXPECT_THAT(fake_.log(),
                ElementsAre("IOTLB_UPDATE 0x100000 0x10000", "IOTLB_UPDATE 0x10000000 0x10000"));
}

TEST_F(VhostVdpa, RefusesPrivateMemoryThatWouldSilentlyStayUnmapped) {
    const Mapping own("private memory", 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    const std::array regions{MemoryRegion{Iova{0x1000}, own.bytes()}};
    EXPECT_THAT([&] { device().map(regions); },
                ThrowsMessage<Error>(AllOf(HasSubstr("0x1000"), HasSubstr("private"),
                                           HasSubstr(node_path), HasSubstr("memfd"))));
    EXPECT_THAT(fake_.log(), IsEmpty());
}

TEST_F(VhostVdpa, RefusesMemoryThatTheDeviceCannotReach) {
    fake_.answers.last_iova = TwoRegions::second + TwoRegions::size - 2;
    EXPECT_THAT([&] { device().map(memory_.regions()); },
                ThrowsMessage<Error>(AllOf(HasSubstr(node_path), HasSubstr("0x1000fffe"),
                                           HasSubstr("0x1000ffff"), HasSubstr("less memory"))));
    EXPECT_THAT(fake_.log(), IsEmpty());
}

TEST_F(VhostVdpa, MapsMemoryUpToTheLastAddressThatTheDeviceReaches) {
    fake_.answers.first_iova = TwoRegions::first;
    fake_.answers.last_iova = TwoRegions::second + TwoRegions::size - 1;
    device().map(memory_.regions());
    EXPECT_TRUE(fake_.reaches(TwoRegions::second, TwoRegions::size));
}

TEST_F(VhostVdpa, RefusesMemoryBelowTheFirstAddressThatTheDeviceReaches) {
    fake_.answers.first_iova = TwoRegions::first + 1;
    EXPECT_THROW(device().map(memory_.regions()), Error);
}

/// RLIMIT_MEMLOCK as a test wants it, put back after it.
class LockedMemoryLimit {
public:
    explicit LockedMemoryLimit(rlim_t bytes) {
        ::getrlimit(RLIMIT_MEMLOCK, &before_);
        rlimit limit = before_;
        limit.rlim_cur = std::min(bytes, before_.rlim_max);
        EXPECT_EQ(::setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    }
    LockedMemoryLimit(const LockedMemoryLimit&) = delete;
    LockedMemoryLimit& operator=(const LockedMemoryLimit&) = delete;
    ~LockedMemoryLimit() { ::setrlimit(RLIMIT_MEMLOCK, &before_); }

private:
    rlimit before_{};
};

TEST_F(VhostVdpa, AFailedMapNamesTheLimitOfLockedMemoryThatIsTooLow) {
    const LockedMemoryLimit limit(65536);
    fake_.fail_next("IOTLB_UPDATE", ENOMEM);
    EXPECT_THAT(
        [&] { device().map(memory_.regions()); },
        ThrowsMessage<Error>(AllOf(HasSubstr(node_path), HasSubstr("131072 bytes are needed"),
                                   HasSubstr("65536 bytes"), HasSubstr("ulimit -l 128"),
                                   HasSubstr("LimitMEMLOCK="))));
}

TEST_F(VhostVdpa, AFailedMapWithEnoughLockedMemoryNamesTheIotlbEntries) {
    const LockedMemoryLimit limit(2 * TwoRegions::size);
    fake_.fail_next("IOTLB_UPDATE", ENOSPC);
    EXPECT_THAT(
        [&] { device().map(memory_.regions()); },
        ThrowsMessage<Error>(AllOf(HasSubstr(node_path), HasSubstr("131072 bytes"),
                                   HasSubstr("Bad address"), HasSubstr("32 IOTLB entries"),
                                   HasSubstr("max_iotlb_entries"), HasSubstr("hugepages=on"))));
}

TEST_F(VhostVdpa, ADeviceThatIsNoneIsRefused) {
    fake_.fail_next("GET_DEVICE_ID", ENOTTY);
    EXPECT_THAT([&] { device(); },
                ThrowsMessage<Error>(AllOf(HasSubstr(node_path), HasSubstr("not a vDPA device"),
                                           HasSubstr("/dev/vhost-vdpa-0"))));
}

TEST_F(VhostVdpa, ALegacyDeviceIsRefused) {
    fake_.answers.features &= ~virtio::feature::version_1;
    EXPECT_THAT([&] { device(); },
                ThrowsMessage<Error>(AllOf(HasSubstr(node_path), HasSubstr("VIRTIO_F_VERSION_1"))));
}

TEST_F(VhostVdpa, AKernelWithoutIotlbMessagesOfVersion2IsRefused) {
    fake_.answers.backend_features = 0;
    EXPECT_THAT([&] { device(); }, ThrowsMessage<Error>(HasSubstr("Linux 5.8")));
}

TEST_F(VhostVdpa, TheRingBaseOfARunningDeviceIsRefused) {
    fake_.answers = answers_of("vdpa_sim_block");
    device().set_status(virtio::status::driver_ok);
    EXPECT_THAT([&] { (void)device().ring_state(0); },
                ThrowsMessage<SystemError>(HasSubstr("VHOST_GET_VRING_BASE")));
}

TEST_F(VhostVdpa, HasTheDoorbellPageOfEachQueue) {
    fake_.answers = answers_of("vp_vdpa_block_two_queues");
    for (unsigned queue = 0; queue < 2; ++queue) {
        const auto page = device().doorbell_page(queue);
        ASSERT_EQ(page.size(), static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
        page[0] = std::byte{0x5a};
        EXPECT_EQ(fake_.doorbell(queue)[0], std::byte{0x5a});
    }
}

TEST_F(VhostVdpa, HasNoDoorbellPageWhereTheDeviceHasNone) {
    EXPECT_TRUE(device().doorbell_page(0).empty());
}

TEST_F(VhostVdpa, ClosesItsNodeWhenItGoes) {
    device();
    device_.reset();
    EXPECT_THAT(fake_.log(), ElementsAre("close"));
}

struct FailingCall {
    std::string ioctl;
    std::function<void(vhost::VdpaDevice&)> operation;
};
void PrintTo(const FailingCall& call, std::ostream* out) {
    *out << call.ioctl;
}

class VhostVdpaFailure : public testing::TestWithParam<FailingCall> {};

TEST_P(VhostVdpaFailure, NamesTheIoctlTheDeviceAndTheReason) {
    FakeVhostNode fake(load_recording("vdpa_sim_block"));
    vhost::VdpaDevice device(node_path, fake.open());
    const std::string& ioctl = GetParam().ioctl;
    // The log and the fake leave out what the UAPI's names begin with.
    const std::string prefix = ioctl.starts_with("VHOST_VDPA_") ? "VHOST_VDPA_" : "VHOST_";
    fake.fail_next(ioctl.substr(prefix.size()), EIO);
    EXPECT_THAT([&] { GetParam().operation(device); },
                ThrowsMessage<SystemError>(AllOf(HasSubstr(node_path), HasSubstr(ioctl),
                                                 HasSubstr("Input/output error"))));
}

const EventFd& any_event() {
    static const EventFd event;
    return event;
}

INSTANTIATE_TEST_SUITE_P(
    Ioctls, VhostVdpaFailure,
    testing::Values(
        FailingCall{"VHOST_SET_FEATURES", [](auto& device) { device.set_features(0); }},
        FailingCall{"VHOST_VDPA_GET_STATUS", [](auto& device) { (void)device.status(); }},
        FailingCall{"VHOST_VDPA_SET_STATUS", [](auto& device) { device.reset(); }},
        FailingCall{"VHOST_VDPA_GET_CONFIG",
                    [](auto& device) {
                        std::array<std::byte, 1> bytes{};
                        device.read_config(0, bytes);
                    }},
        FailingCall{"VHOST_VDPA_SET_CONFIG",
                    [](auto& device) { device.write_config(0, std::array{std::byte{1}}); }},
        FailingCall{"VHOST_SET_VRING_NUM", [](auto& device) { device.set_queue_size(0, 64); }},
        FailingCall{"VHOST_SET_VRING_ADDR", [](auto& device) { device.set_ring_addresses(0, {}); }},
        FailingCall{"VHOST_SET_VRING_BASE",
                    [](auto& device) { device.set_ring_state(0, vdpa::SplitRingState{}); }},
        FailingCall{"VHOST_GET_VRING_BASE", [](auto& device) { (void)device.ring_state(0); }},
        FailingCall{"VHOST_VDPA_SET_VRING_ENABLE",
                    [](auto& device) { device.enable_queue(0, true); }},
        FailingCall{"VHOST_SET_VRING_KICK", [](auto& device) { device.set_kick(0, any_event()); }},
        FailingCall{"VHOST_SET_VRING_CALL", [](auto& device) { device.set_call(0, any_event()); }},
        FailingCall{"VHOST_VDPA_SET_CONFIG_CALL",
                    [](auto& device) { device.set_config_call(any_event()); }},
        FailingCall{"VHOST_VDPA_SUSPEND", [](auto& device) { device.suspend(); }},
        FailingCall{"VHOST_VDPA_RESUME", [](auto& device) { device.resume(); }}),
    [](const auto& call) { return call.param.ioctl; });

class VhostVdpaOpening : public testing::TestWithParam<std::string> {};

TEST_P(VhostVdpaOpening, SaysWhichCallFailedAndClosesTheNode) {
    FakeVhostNode fake(load_recording("vdpa_sim_block"));
    fake.fail_next(GetParam(), EIO);
    EXPECT_THAT([&] { vhost::VdpaDevice(node_path, fake.open()); },
                ThrowsMessage<SystemError>(AllOf(HasSubstr(node_path), HasSubstr(GetParam()))));
    EXPECT_FALSE(fake.is_open());
}

INSTANTIATE_TEST_SUITE_P(Ioctls, VhostVdpaOpening,
                         testing::Values("GET_FEATURES", "SET_OWNER", "GET_BACKEND_FEATURES",
                                         "SET_BACKEND_FEATURES", "GET_CONFIG_SIZE",
                                         "GET_IOVA_RANGE", "GET_VQS_COUNT", "GET_VRING_NUM"),
                         [](const auto& call) { return call.param; });

}  // namespace
}  // namespace viaduct::test
