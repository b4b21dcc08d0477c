/// NBD servers that go and come back, answer with errors, or take their time; and disks that are
/// reset or switched meanwhile.
#include <chrono>
#include <thread>

#include <gmock/gmock.h>

#include "tests/support/repeated.hpp"
#include "tests/unit/soft_nbd_world.hpp"

namespace viaduct::soft {
namespace {

using namespace std::chrono_literals;
using test::Bytes;
using test::eventually;
using test::NbdServer;
using test::SoftDisk;
using test::TemporaryImage;
using testing::HasSubstr;

using NbdClock = std::chrono::steady_clock;

std::size_t count_of(const std::string& text, const std::string& word) {
    std::size_t count = 0;
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
    return count;
}

class LostServer : public testing::TestWithParam<NbdServer::Kind> {
protected:
    std::vector<std::string> arguments() const {
        if (GetParam() == NbdServer::Kind::nbdkit) return {"file", file_.path()};
        return {"--persistent", "--format=raw", file_.path()};
    }
    SoftDeviceOptions options(std::chrono::seconds delay) const {
        auto options = test::options_for(server_);
        options.reconnect_delay = delay;
        return options;
    }

    TemporaryImage file_{"/dev/shm"};
    NbdServer server_{GetParam(), arguments()};
};

INSTANTIATE_TEST_SUITE_P(Servers, LostServer,
                         testing::Values(NbdServer::Kind::nbdkit, NbdServer::Kind::qemu),
                         [](const auto& tested) {
                             return tested.param == NbdServer::Kind::nbdkit ? "Nbdkit" : "QemuNbd";
                         });

TEST_P(LostServer, ThatComesBackInTimeIsNotNoticedByTheGuest) {
    SoftDisk disk(options(30s), 64);
    disk.start();
    testing::internal::CaptureStderr();
    const unsigned times = test::repeated(4);
    test::restart_under_load(server_, disk, times);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(count_of(log, "is lost"), std::min(times, 5U)) << log;
    EXPECT_EQ(count_of(log, "connection to the server is back"), std::min(times, 5U)) << log;
}

TEST_P(LostServer, ThatStaysAwayFailsRequestsAfterTheDelayAndRecoversWhenItIsBack) {
    SoftDisk disk(options(1s));
    disk.start();
    ASSERT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
    testing::internal::CaptureStderr();
    const auto lost = NbdClock::now();
    server_.kill();
    EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_IOERR);
    const auto first = NbdClock::now() - lost;
    EXPECT_GE(first, 900ms);
    EXPECT_LT(first, 4s);
    for (unsigned i = 0; i < 5; ++i) {
        EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_IOERR);
    }
    EXPECT_LT(NbdClock::now() - lost - first, 500ms) << "those after it fail at once";
    server_.start();
    EXPECT_TRUE(eventually([&] { return disk.write(8, Bytes(512)) == VIRTIO_BLK_S_OK; }));
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(count_of(log, "is lost"), 1U) << log;
    EXPECT_EQ(count_of(log, "no connection for 1 s"), 1U) << log;
    EXPECT_EQ(count_of(log, "connection to the server is back"), 1U) << log;
}

TEST_P(LostServer, HasTheWholeDelayAgainWhenNothingWasAskedOfItSinceTheLastTime) {
    SoftDisk disk(options(2s));
    disk.start();
    ASSERT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
    server_.kill();
    server_.start();
    std::this_thread::sleep_for(4s);  // until it is connected to again, and past the delay
    server_.kill();
    std::thread guest([&] { EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_OK); });
    std::this_thread::sleep_for(200ms);
    server_.start();  // by this thread, with which it ends
    guest.join();
}

TEST_P(LostServer, DoesNotHoldUpAReset) {
    SoftDisk disk(options(30s));
    disk.start();
    server_.kill();
    const auto request = disk.post(0, VIRTIO_BLK_T_IN, 0, disk.put(Bytes(4096)), 4096);
    disk.driver().publish_and_kick();
    EXPECT_TRUE(eventually([&] { return disk.device().counters(0).requests.load() == 1; }));
    const auto begin = NbdClock::now();
    disk.device().reset();
    EXPECT_LT(NbdClock::now() - begin, 1s);
    EXPECT_EQ(disk.memory().load<std::uint8_t>(request.status), 0xee);
    server_.start();
    disk.driver().start_at({});
    disk.driver().forget_outstanding();
    disk.start();
    EXPECT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
}

TEST_P(LostServer, ThatComesBackAsAnotherDiskIsLeftAlone) {
    SoftDisk disk(options(2s));
    disk.start();
    ASSERT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
    testing::internal::CaptureStderr();
    server_.kill();
    std::filesystem::resize_file(file_.path(), 4 << 20);
    server_.start();
    EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_IOERR);
    server_.kill();
    std::filesystem::resize_file(file_.path(), 8 << 20);
    server_.start();
    EXPECT_TRUE(eventually([&] { return disk.write(8, Bytes(512)) == VIRTIO_BLK_S_OK; }));
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_EQ(count_of(log, "4194304 bytes where there were 8388608: not connected"), 1U) << log;
}

struct Answer {
    const char* error;
    const char* in_words;
};

class ServerErrors : public testing::TestWithParam<Answer> {};

INSTANTIATE_TEST_SUITE_P(Answers, ServerErrors,
                         testing::Values(Answer{"EIO", "Input/output error"},
                                         Answer{"ENOSPC", "No space left on device"},
                                         Answer{"EPERM", "Operation not permitted"},
                                         Answer{"ENOMEM", "Cannot allocate memory"}),
                         [](const auto& tested) { return std::string(tested.param.error); });

TEST_P(ServerErrors, AreTheGuestsAndTheOperatorsAndNobodyElses) {
    const test::TemporaryDirectory directory;
    const std::string trigger = directory.path("trigger");
    const NbdServer server =
        test::nbdkit({"--filter=error", "memory", "8M", std::string("error=") + GetParam().error,
                      "error-rate=100%", "error-file=" + trigger});
    SoftDisk disk(test::options_for(server));
    disk.start();
    ASSERT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_OK);
    testing::internal::CaptureStderr();
    std::ofstream(trigger) << "now";
    EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_IOERR);
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_THAT(log, HasSubstr(std::string("a write at 4096 failed at the server: ") +
                               GetParam().in_words));
    EXPECT_EQ(count_of(log, "\n"), 1U) << log;
    std::filesystem::remove(trigger);
    EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk.device().counters(0).failed.load(), 1U);
}

class SlowServer : public testing::Test {
protected:
    static constexpr auto slowness = 700ms;

    std::vector<Iova> post_reads(unsigned count) {
        std::vector<Iova> buffers;
        for (unsigned i = 0; i < count; ++i) {
            buffers.push_back(disk_.put(Bytes(4096, std::byte{0xcc})));
            disk_.post(0, VIRTIO_BLK_T_IN, std::uint64_t{i} * 8, buffers.back(), 4096);
        }
        disk_.driver().publish_and_kick();
        EXPECT_TRUE(
            eventually([&] { return disk_.device().counters(0).requests.load() == count; }));
        return buffers;
    }

    NbdServer server_ =
        test::nbdkit({"--filter=delay", "memory", "8M", "rdelay=700ms", "wdelay=700ms"});
    SoftDisk disk_{test::options_for(server_)};
};

TEST_F(SlowServer, DoesNotHoldUpAResetNorTouchMemoryAfterwards) {
    disk_.start();
    const auto buffers = post_reads(10);
    ::usleep(20'000);
    const auto begin = NbdClock::now();
    disk_.device().reset();
    EXPECT_LT(NbdClock::now() - begin, slowness / 2);
    std::this_thread::sleep_for(slowness + 300ms);
    for (const Iova buffer : buffers) {
        EXPECT_EQ(disk_.get(buffer, 4096), Bytes(4096, std::byte{0xcc}));
    }
    EXPECT_EQ(disk_.driver().ring().used_idx().load(), 0);
    disk_.driver().start_at({});
    disk_.driver().forget_outstanding();
    // A server that does not survive its client's leaving is not what this is about.
    if (!server_.running()) server_.start();
    disk_.start();
    const Iova buffer = disk_.put(Bytes(4096, std::byte{0xcc}));
    EXPECT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 0, buffer, 4096), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk_.get(buffer, 4096), Bytes(4096));
}

TEST_F(SlowServer, IsWaitedForByWhatDrains) {
    disk_.start();
    const auto buffers = post_reads(10);
    const EventFd other;
    disk_.device().set_call(0, other);  // ends the engine, and starts another
    EXPECT_EQ(disk_.driver().ring().used_idx().load(), 10);
    for (const Iova buffer : buffers) EXPECT_EQ(disk_.get(buffer, 4096), Bytes(4096));
}

TEST(NbdConnections, AreKeptOverAResetAtRest) {
    const TemporaryImage file("/dev/shm");
    // Without --persistent it ends with its last client.
    const NbdServer server(NbdServer::Kind::qemu, {"--format=raw", file.path()});
    {
        SoftDisk disk(test::options_for(server));
        for (unsigned round = 0; round < 3; ++round) {
            disk.driver().start_at({});
            disk.start();
            EXPECT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
            EXPECT_TRUE(server.running());
            disk.device().reset();
        }
    }
    EXPECT_TRUE(eventually([&] { return !server.running(); }));
}

TEST(NbdConnections, ThatWereLostAtRestAreMadeAnew) {
    const TemporaryImage file("/dev/shm");
    NbdServer server = test::nbdkit({"file", file.path()});
    SoftDisk disk(test::options_for(server));
    disk.start();
    ASSERT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
    disk.device().reset();
    server.kill();
    server.start();
    disk.driver().start_at({});
    disk.start();
    EXPECT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
}

}  // namespace
}  // namespace viaduct::soft
