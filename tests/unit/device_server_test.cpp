// The daemon's answers to the kernel's messages, with a driver's rings in real memory.
#include "vdpa/export/device_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fake_vduse_node.hpp"
#include "tests/unit/soft_disk.hpp"

namespace viaduct::vduse {
namespace {

using test::Bytes;
using test::random_bytes;
using test::RingDriver;
namespace status = virtio::status;

constexpr std::uint8_t ready_to_go = status::acknowledge | status::driver | status::features_ok;
constexpr std::uint8_t running = ready_to_go | status::driver_ok;
constexpr std::uint16_t queue_size = 64;  // the device's
constexpr std::uint16_t ring_size = 16;   // the driver's

class VduseServer : public testing::Test {
protected:
    VduseServer() {
        node_.accepted = disk_.features();
        const MemoryRegion region = memory_.region();
        node_.pieces = {{memory_.fd(), 0, region.iova.value, region.end() - 1}};
        for (unsigned queue = 0; queue < drivers_.size(); ++queue) set_up(queue);
        make_server();
    }

    void set_up(unsigned queue) {
        const RingDriver& driver = *drivers_[queue];
        node_.queues[queue] = {ring_size, driver.addresses(), 0, true};
        node_.calls[queue] = &driver.call_event();
    }
    void make_server() {
        server_ = std::make_unique<DeviceServer>(
            DeviceServerSetup{.name = "disk0",
                              .node = node_,
                              .disk = disk_,
                              .log = log_allowance_,
                              .on_status =
                                  [this](std::uint8_t status) {
                                      status_ = status;
                                      log_at_status_ = in_flight_[3].state;
                                  },
                              .bounce_bytes = [] { return std::uint64_t{0}; }});
    }
    /// The kernel's part of a message, and whether it was answered well.
    bool serve() {
        server_->serve();
        EXPECT_EQ(node_.responses.back().request_id, node_.last_id());
        return node_.responses.back().result == VDUSE_REQ_RESULT_OK;
    }
    bool set_status(std::uint8_t status) {
        node_.send_status(status);
        return serve();
    }

    /// Reads the image's first sector through queue `queue`; its status, 0xff when none came.
    std::uint8_t read(unsigned queue = 0) {
        RingDriver& driver = *drivers_[queue];
        const Iova header = memory_.allocate(sizeof(virtio_blk_outhdr), 16);
        memory_.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0});
        const Iova state = memory_.allocate(1, 1);
        driver.add(std::array{test::Buffer{header, 16, false}, test::Buffer{buffer_, 512, true},
                              test::Buffer{state, 1, true}});
        if (driver.publish()) node_.kicks[queue]->signal();
        if (!driver.wait_used(std::chrono::seconds(10))) return 0xff;
        return memory_.load<std::uint8_t>(state);
    }

    test::TemporaryImage image_{"/dev/shm"};
    std::vector<soft::InFlightEntry> in_flight_{std::size_t{2} * queue_size};
    soft::SoftDevice disk_{[this] {
        soft::SoftDeviceOptions options;
        options.image = image_.path();
        options.queues = 2;
        options.queue_size = queue_size;
        options.suspend = false;
        options.in_flight = in_flight_;
        return options;
    }()};
    test::GuestMemory memory_;
    std::vector<std::unique_ptr<RingDriver>> drivers_ = [this] {
        std::vector<std::unique_ptr<RingDriver>> drivers(2);
        for (auto& driver : drivers) driver = std::make_unique<RingDriver>(memory_, ring_size);
        return drivers;
    }();
    Iova buffer_ = memory_.allocate(512);
    test::FakeVduseNode node_;
    LogAllowance log_allowance_{"the tests"};
    std::uint8_t status_ = 0xee;
    soft::InFlightEntry::State log_at_status_ = soft::InFlightEntry::State::free;
    std::unique_ptr<DeviceServer> server_;
};

TEST_F(VduseServer, ServesEveryQueueThatTheDriverMadeReady) {
    const Bytes content = random_bytes(512, 1);
    image_.write(0, content);
    EXPECT_TRUE(set_status(status::acknowledge));
    EXPECT_TRUE(set_status(ready_to_go));
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(status_, running);
    for (unsigned queue = 0; queue < 2; ++queue) {
        EXPECT_EQ(read(queue), VIRTIO_BLK_S_OK);
        const auto bytes = memory_.at(buffer_, 512);
        EXPECT_EQ(Bytes(bytes.begin(), bytes.end()), content);
    }
}

TEST_F(VduseServer, LeavesAQueueAloneThatTheDriverDidNotMakeReady) {
    node_.queues[1].ready = false;
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(0), VIRTIO_BLK_S_OK);
    EXPECT_EQ(node_.kicks.count(1), 0U);
}

TEST_F(VduseServer, BeginsWhereTheDriverSaysTheRingStands) {
    drivers_[0]->start_at(virtio::RingIndex(0xfffe));
    node_.queues[0].avail_index = 0xfffe;
    EXPECT_TRUE(set_status(running));
    for (int request = 0; request < 4; ++request) EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    node_.ask_for_state(0);
    EXPECT_TRUE(serve());
    EXPECT_EQ(node_.responses.back().vq_state.split.avail_index, 2);
}

TEST_F(VduseServer, LetsGoOfTheDriversMemoryAndKicksAtAReset) {
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    EXPECT_TRUE(set_status(0));
    EXPECT_EQ(status_, 0);
    EXPECT_EQ(node_.kicks[0], nullptr);
    EXPECT_EQ(node_.kicks[1], nullptr);
    // And begins anew.
    for (auto& driver : drivers_) driver->start_at({});
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, FollowsTheDriversMemoryWhileItRuns) {
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    const test::GuestMemory more(std::size_t{1} << 20, Iova{std::uint64_t{1} << 40});
    const MemoryRegion region = more.region();
    node_.pieces.push_back({more.fd(), 0, region.iova.value, region.end() - 1});
    node_.send_type(VDUSE_UPDATE_IOTLB);
    EXPECT_TRUE(serve());
    buffer_ = region.iova;
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    node_.pieces.pop_back();
    node_.send_type(VDUSE_UPDATE_IOTLB);
    EXPECT_TRUE(serve());
    EXPECT_EQ(read(), VIRTIO_BLK_S_IOERR) << "that memory is not the device's any more";
}

TEST_F(VduseServer, FailsAMessageOfAnUnknownKindAndGoesOn) {
    EXPECT_TRUE(set_status(running));
    node_.send_type(77);
    EXPECT_FALSE(serve());
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, FailsAQuestionForAQueueThatIsNotThere) {
    node_.ask_for_state(2);
    EXPECT_FALSE(serve());
    node_.ask_for_state(0xffffffff);
    EXPECT_FALSE(serve());
}

TEST_F(VduseServer, FailsAStartThatMakesNoSenseAndStartsAtTheNext) {
    const auto good = node_.queues[0];
    node_.queues[0].size = 100;
    EXPECT_FALSE(set_status(running)) << "no power of two";
    EXPECT_EQ(status_ & status::driver_ok, 0) << "the next daemon would take it up";
    node_.queues[0].size = 0;
    EXPECT_FALSE(set_status(running));
    node_.queues[0].size = 128;
    EXPECT_FALSE(set_status(running)) << "over the device's";
    node_.queues[0] = good;
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, RefusesFeaturesThatItDoesNotHave) {
    node_.accepted |= virtio::feature::ring_packed;
    EXPECT_FALSE(set_status(running));
}

TEST_F(VduseServer, RefusesMemoryThatMakesNoSense) {
    const auto good = node_.pieces;
    for (const test::FakeVduseNode::Piece& piece :
         {test::FakeVduseNode::Piece{memory_.fd(), 0, 0x2000, 0x1fff},
          test::FakeVduseNode::Piece{memory_.fd(), 0, 0, ~std::uint64_t{0}},
          test::FakeVduseNode::Piece{memory_.fd(), 0x123, 0x1000, 0x1fff}}) {
        node_.pieces = {piece};
        EXPECT_FALSE(set_status(running));
    }
    node_.pieces = good;
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, RingsOutsideTheMemoryAreTheDriversAffair) {
    node_.queues[0].addresses.used = Iova{std::uint64_t{1} << 50};
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(1), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, ADeviceThatRanIsTakenUp) {
    EXPECT_TRUE(set_status(running));
    for (int request = 0; request < 3; ++request) EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    server_.reset();
    disk_.reset();
    make_server();
    server_->take_over(running);
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    EXPECT_TRUE(set_status(running)) << "the message that the daemon before did not answer";
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    EXPECT_EQ(drivers_[0]->ring().used_idx().load(), 5);
}

TEST_F(VduseServer, ADeviceThatDidNotRunIsNot) {
    server_->take_over(ready_to_go);
    EXPECT_TRUE(node_.kicks.empty());
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, ATakeOverThatFailsLeavesDeviceAndLogForTheNext) {
    EXPECT_TRUE(set_status(running));
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    server_.reset();
    disk_.reset();
    in_flight_[3].state = soft::InFlightEntry::State::taken;
    const auto kicks = node_.kicks;
    node_.queues[0].size = 100;
    make_server();
    EXPECT_THAT(test::error_of([&] { server_->take_over(running); }),
                testing::HasSubstr("disk0 cannot be taken up"));
    server_.reset();
    EXPECT_EQ(in_flight_[3].state, soft::InFlightEntry::State::taken);
    EXPECT_EQ(node_.kicks, kicks);
    EXPECT_EQ(status_, running);
}

TEST_F(VduseServer, ADeviceThatWasResetWhileNobodyServedItIsNotTakenUp) {
    EXPECT_TRUE(set_status(running));
    server_.reset();
    disk_.reset();
    in_flight_[3].state = soft::InFlightEntry::State::taken;
    node_.accepted = 0;
    node_.queues.clear();
    make_server();
    server_->take_over(running);
    EXPECT_EQ(status_, 0);
    EXPECT_EQ(in_flight_[3].state, soft::InFlightEntry::State::free);
}

TEST_F(VduseServer, AResetIsKnownBeforeTheLogIsEmptySoThatNobodyTakesUpWhatIsDone) {
    EXPECT_TRUE(set_status(running));
    in_flight_[3].state = soft::InFlightEntry::State::taken;
    EXPECT_TRUE(set_status(0));
    EXPECT_EQ(log_at_status_, soft::InFlightEntry::State::taken);
    EXPECT_EQ(in_flight_[3].state, soft::InFlightEntry::State::free);
}

TEST_F(VduseServer, ADaemonKilledOverAResetLeavesNothingInFlightToTheNext) {
    in_flight_[3].state = soft::InFlightEntry::State::taken;
    server_->take_over(0);
    EXPECT_EQ(in_flight_[3].state, soft::InFlightEntry::State::free);
    EXPECT_TRUE(node_.kicks.empty());
}

TEST_F(VduseServer, MemoryThatMakesNoSenseWhileItRunsLeavesItWithWhatItHad) {
    EXPECT_TRUE(set_status(running));
    node_.pieces.push_back({memory_.fd(), 0, 0xffff'ffff'ffff'f000, 0xffff'ffff'ffff'ffff});
    node_.send_type(VDUSE_UPDATE_IOTLB);
    EXPECT_FALSE(serve());
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    std::filesystem::resize_file(image_.path(), std::size_t{16} << 20);
    EXPECT_EQ(server_->grow(), 32768U);
    EXPECT_EQ(read(1), VIRTIO_BLK_S_OK);
}

TEST_F(VduseServer, TellsTheDriverThatTheImageHasGrown) {
    EXPECT_TRUE(set_status(running));
    std::filesystem::resize_file(image_.path(), std::size_t{16} << 20);
    EXPECT_EQ(server_->grow(), 32768U);
    std::uint64_t capacity = 0;
    ASSERT_EQ(node_.config_written.size(), sizeof(capacity));
    std::memcpy(&capacity, node_.config_written.data(), sizeof(capacity));
    EXPECT_EQ(capacity, 32768U);
    EXPECT_EQ(node_.config_interrupts, 1U);
    EXPECT_EQ(read(), VIRTIO_BLK_S_OK);
    std::filesystem::resize_file(image_.path(), std::size_t{4} << 20);
    EXPECT_THAT(test::error_of([&] { server_->grow(); }), testing::HasSubstr("smaller"));
}

}  // namespace
}  // namespace viaduct::vduse
