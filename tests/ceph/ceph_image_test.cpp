/// The embedded disk over images of a real Ceph cluster, which is made for these tests.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ceph/ceph_cluster.hpp"
#include "tests/support/repeated.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/unit/soft_disk.hpp"
#include "tests/unit/verified_load.hpp"
#include "vdpa/soft/image/rbd/rbd_image.hpp"

namespace viaduct::soft {
namespace {

using namespace std::chrono_literals;
using test::Bytes;
using test::CephCluster;
using test::eventually;
using test::random_bytes;
using test::SoftDisk;
using test::VerifiedLoad;
using testing::HasSubstr;

constexpr std::size_t image_bytes = std::size_t{64} << 20;

class CephImage : public testing::Test {
protected:
    static void SetUpTestSuite() {
        provide_rbd();
        cluster_ = std::make_unique<CephCluster>();
    }
    static void TearDownTestSuite() { cluster_.reset(); }
    void SetUp() override {
        ASSERT_NE(cluster_, nullptr) << "there is no cluster";
        cluster_->rbd({"create", "disk", "--size", "64"});
    }
    void TearDown() override {
        if (cluster_) cluster_->rbd({"rm", "disk"});
    }

    static SoftDeviceOptions options(std::chrono::seconds delay = 60s) {
        SoftDeviceOptions options;
        options.image = cluster_->image("disk");
        options.queues = 2;
        options.reconnect_delay = delay;
        return options;
    }
    /// What the cluster holds, by Ceph's own tool.
    [[nodiscard]] Bytes exported() const {
        const std::string path = directory_.path("exported");
        std::filesystem::remove(path);
        cluster_->rbd({"export", "disk", path});
        Bytes bytes(std::filesystem::file_size(path));
        std::ifstream(path, std::ios::binary)
            .read(reinterpret_cast<char*>(bytes.data()),
                  static_cast<std::streamsize>(bytes.size()));
        return bytes;
    }

    static inline std::unique_ptr<CephCluster> cluster_;
    test::TemporaryDirectory directory_;
};

TEST_F(CephImage, HoldsWhatTheGuestWrote) {
    const Bytes content = random_bytes(std::size_t{40} * 4096, 3);
    {
        SoftDisk disk(options());
        disk.start();
        virtio_blk_config config{};
        disk.device().read_config(0, std::as_writable_bytes(std::span(&config, 1)).first(60));
        EXPECT_EQ(config.capacity, image_bytes / test::sector);
        // Over the border of two of the cluster's objects, of 4 MiB.
        ASSERT_EQ(disk.write((4U << 20) / test::sector - 16, content), VIRTIO_BLK_S_OK);
        ASSERT_EQ(disk.flush(), VIRTIO_BLK_S_OK);
        ASSERT_EQ(disk.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{(4U << 20) / test::sector, 16, 0}}),
                  VIRTIO_BLK_S_OK);
        // A whole object: the cluster may leave what is less as it is.
        ASSERT_EQ(disk.write((8U << 20) / test::sector, content), VIRTIO_BLK_S_OK);
        ASSERT_EQ(disk.clear(VIRTIO_BLK_T_DISCARD,
                             {{(8U << 20) / test::sector, (4U << 20) / test::sector, 0}}),
                  VIRTIO_BLK_S_OK);
        const Iova room = disk.memory().allocate(8192);
        ASSERT_EQ(disk.run(1, VIRTIO_BLK_T_IN, (4U << 20) / test::sector - 16, room, 8192),
                  VIRTIO_BLK_S_OK);
        EXPECT_EQ(disk.get(room, 8192), Bytes(content.begin(), content.begin() + 8192));
        EXPECT_EQ(disk.run(1, VIRTIO_BLK_T_IN, image_bytes / test::sector - 8, room, 8192),
                  VIRTIO_BLK_S_IOERR);
    }
    Bytes expected(image_bytes);
    const auto at = expected.begin() + (4 << 20) - 8192;
    std::copy(content.begin(), content.end(), at);
    std::fill_n(at + 8192, 8192, std::byte{0});
    EXPECT_TRUE(exported() == expected);
}

TEST_F(CephImage, IsReadAsItWasImported) {
    const Bytes content = random_bytes(std::size_t{2} << 20, 4);
    const std::string path = directory_.path("content");
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
    cluster_->rbd({"import", path, "imported"});
    {
        auto read_only = options();
        read_only.image = cluster_->image("imported");
        read_only.read_only = true;
        SoftDisk disk(read_only);
        disk.start();
        const Iova room = disk.memory().allocate(content.size());
        for (std::size_t at = 0; at < content.size(); at += 1 << 19) {
            ASSERT_EQ(disk.run(0, VIRTIO_BLK_T_IN, at / test::sector, room + at, 1 << 19),
                      VIRTIO_BLK_S_OK);
        }
        EXPECT_TRUE(disk.get(room, content.size()) == content);
        EXPECT_EQ(disk.write(0, Bytes(512)), VIRTIO_BLK_S_IOERR);
    }
    cluster_->rbd({"rm", "imported"});
}

TEST_F(CephImage, OutlivesItsOsdUnderLoad) {
    SoftDisk disk(options());
    disk.start();
    VerifiedLoad first(disk, 0, 60s);
    VerifiedLoad second(disk, 1, 60s);
    std::atomic<bool> stop = false;
    std::thread guest([&] { first.run(stop); });
    std::thread other([&] { second.run(stop); });
    const auto expect_progress = [&] { EXPECT_TRUE(first.goes_on() && second.goes_on()); };
    for (unsigned i = 0; i < test::repeated(3); ++i) {
        expect_progress();
        cluster_->restart_osd();
        expect_progress();
        cluster_->signal_osd(SIGSTOP);
        std::this_thread::sleep_for(2s);
        cluster_->signal_osd(SIGCONT);
    }
    expect_progress();
    stop = true;
    guest.join();
    other.join();
    EXPECT_EQ(disk.device().counters(0).failed.load(), 0U);
    EXPECT_EQ(disk.device().counters(1).failed.load(), 0U);
}

TEST_F(CephImage, FailsWhatGetsNoAnswerAndRecovers) {
    SoftDisk disk(options(2s));
    disk.start();
    ASSERT_EQ(disk.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
    testing::internal::CaptureStderr();
    cluster_->signal_osd(SIGSTOP);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(disk.write(8, Bytes(4096)), VIRTIO_BLK_S_IOERR);
    const auto waited = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(waited, 1900ms);
    EXPECT_LT(waited, 8s);
    cluster_->signal_osd(SIGCONT);
    EXPECT_TRUE(eventually([&] { return disk.write(8, Bytes(4096)) == VIRTIO_BLK_S_OK; }));
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                HasSubstr("a write at 4096 failed in the cluster"));
}

TEST_F(CephImage, ThatIsNotThereIsRefusedWithTheRemedy) {
    const auto refusal = [](const std::string& image) {
        return test::error_of([&] {
            const RbdImage opened({.name = image, .reconnect_delay = std::chrono::seconds(2)});
        });
    };
    EXPECT_THAT(refusal(cluster_->image("disc")), HasSubstr("rbd ls"));
    EXPECT_THAT(refusal("rbd:lake/disk:conf=" + cluster_->conf()), HasSubstr("ceph osd lspools"));
    const std::string nobody = directory_.path("nobody.conf");
    std::ofstream(nobody) << "[global]\nmon host = 127.0.0.1:9\nauth client required = none\n";
    EXPECT_THAT(refusal("rbd:rbd/disk:conf=" + nobody), HasSubstr("cannot be reached"));
}

// The last one: the cluster shuts the dead writer's address out, whose random part is what this
// process, of which the writer is a copy, would draw for its next client.
TEST_F(CephImage, HoldsWhatWasAnsweredForWhenItsProcessIsKilled) {
    const Bytes content = random_bytes(std::size_t{32} * 4096, 5);
    const pid_t writer = ::fork();
    if (writer == 0) {
        SoftDisk disk(options());
        disk.start();
        // A cache that waits for a first flush would answer by itself from here on.
        const bool good =
            disk.flush() == VIRTIO_BLK_S_OK && disk.write(0, content) == VIRTIO_BLK_S_OK;
        if (good) ::kill(::getpid(), SIGKILL);
        ::_exit(1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(writer, &status, 0), writer);
    ASSERT_TRUE(WIFSIGNALED(status));
    const Bytes now = exported();
    EXPECT_TRUE(std::equal(content.begin(), content.end(), now.begin()));
}

}  // namespace
}  // namespace viaduct::soft
