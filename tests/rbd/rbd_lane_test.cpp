/// The RBD lane against a cluster of our own making: the part of librados and librbd that it uses,
/// over memory, with threads that answer late and out of order. A real cluster is another test's.
#include "vdpa/soft/image/rbd/rbd_lane.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

#include <gmock/gmock.h>
#include <rbd/librbd.h>

#include "tests/unit/soft_disk.hpp"
#include "vdpa/soft/image/rbd/rbd_image.hpp"

namespace viaduct::test {
namespace {

struct FakeCompletion {
    void* argument = nullptr;
    rbd_callback_t callback = nullptr;
    ssize_t result = 0;
};

/// The one image there is, rbd:pool/disk.
struct FakeCluster {
    Bytes content{std::size_t{8} << 20};
    std::mutex mutex;
    std::vector<std::thread> threads;
    std::atomic<int> error = 0;
    std::atomic<unsigned> flushes = 0;
    std::atomic<std::uint64_t> moving = 0;
    std::atomic<std::uint64_t> most_moving = 0;  // bytes, at once
    std::atomic<unsigned> delay_us = 0;

    int answer(rbd_completion_t completion, std::function<ssize_t()> work) {
        auto* const done = static_cast<FakeCompletion*>(completion);
        const unsigned delay = delay_us;
        const std::lock_guard lock(mutex);
        threads.emplace_back([this, done, delay, work = std::move(work)] {
            const auto some = reinterpret_cast<std::uintptr_t>(done) >> 4U;
            ::usleep(delay + static_cast<unsigned>(some % 500));
            done->result = error != 0 ? -error : work();
            done->callback(done, done->argument);
        });
        return 0;
    }
    void join() {
        const std::lock_guard lock(mutex);
        for (std::thread& thread : threads) thread.join();
        threads.clear();
    }
};

FakeCluster& fake_cluster() {
    static FakeCluster cluster;
    return cluster;
}

int fake_open(const char* name, rbd_image_t* image) {
    *image = &fake_cluster();
    return std::string(name) == "disk" ? 0 : -ENOENT;
}

int move_data(const iovec* iov, int count, std::uint64_t offset, rbd_completion_t completion,
              bool to_guest) {
    FakeCluster& cluster = fake_cluster();
    std::vector<iovec> pieces(iov, iov + count);
    std::uint64_t length = 0;
    for (const iovec& piece : pieces) length += piece.iov_len;
    cluster.moving += length;
    cluster.most_moving = std::max(cluster.most_moving.load(), cluster.moving.load());
    return cluster.answer(completion,
                          [&cluster, pieces = std::move(pieces), offset, length, to_guest] {
                              std::byte* at = cluster.content.data() + offset;
                              for (const iovec& piece : pieces) {
                                  std::memcpy(to_guest ? piece.iov_base : at,
                                              to_guest ? at : piece.iov_base, piece.iov_len);
                                  at += piece.iov_len;
                              }
                              cluster.moving -= length;
                              return to_guest ? static_cast<ssize_t>(length) : 0;
                          });
}

int clear(std::uint64_t offset, std::uint64_t length, rbd_completion_t completion) {
    return fake_cluster().answer(completion, [offset, length] {
        std::fill_n(fake_cluster().content.begin() + static_cast<long>(offset), length,
                    std::byte{0});
        return ssize_t{0};
    });
}

}  // namespace
}  // namespace viaduct::test

// In place of the libraries' own.
extern "C" {
using viaduct::test::fake_cluster;
using viaduct::test::FakeCompletion;

int rados_create(rados_t* cluster, const char* /*id*/) {
    *cluster = &fake_cluster();
    return 0;
}
int rados_conf_read_file(rados_t /*cluster*/, const char* path) {
    return path == nullptr ? 0 : -ENOENT;
}
int rados_conf_parse_env(rados_t /*cluster*/, const char* /*var*/) {
    return 0;
}
int rados_conf_set(rados_t /*cluster*/, const char* /*option*/, const char* /*value*/) {
    return 0;
}
int rados_connect(rados_t /*cluster*/) {
    return fake_cluster().error != 0 ? -ETIMEDOUT : 0;
}
void rados_shutdown(rados_t /*cluster*/) {}
int rados_ioctx_create(rados_t cluster, const char* pool, rados_ioctx_t* io) {
    *io = cluster;
    return std::string(pool) == "pool" ? 0 : -ENOENT;
}
void rados_ioctx_set_namespace(rados_ioctx_t /*io*/, const char* /*name*/) {}
void rados_ioctx_destroy(rados_ioctx_t /*io*/) {}
int rbd_open(rados_ioctx_t /*io*/, const char* name, rbd_image_t* image, const char* /*snap*/) {
    return viaduct::test::fake_open(name, image);
}
int rbd_open_read_only(rados_ioctx_t /*io*/, const char* name, rbd_image_t* image,
                       const char* /*snap*/) {
    return viaduct::test::fake_open(name, image);
}
int rbd_close(rbd_image_t /*image*/) {
    fake_cluster().join();
    return 0;
}
int rbd_stat(rbd_image_t /*image*/, rbd_image_info_t* info, size_t /*size*/) {
    info->size = fake_cluster().content.size();
    return 0;
}
int rbd_aio_create_completion(void* argument, rbd_callback_t callback,
                              rbd_completion_t* completion) {
    *completion = new FakeCompletion{argument, callback, 0};
    return 0;
}
ssize_t rbd_aio_get_return_value(rbd_completion_t completion) {
    return static_cast<FakeCompletion*>(completion)->result;
}
void rbd_aio_release(rbd_completion_t completion) {
    delete static_cast<FakeCompletion*>(completion);
}
int rbd_aio_readv(rbd_image_t /*image*/, const iovec* iov, int count, uint64_t offset,
                  rbd_completion_t completion) {
    return viaduct::test::move_data(iov, count, offset, completion, true);
}
int rbd_aio_writev(rbd_image_t /*image*/, const iovec* iov, int count, uint64_t offset,
                   rbd_completion_t completion) {
    return viaduct::test::move_data(iov, count, offset, completion, false);
}
int rbd_aio_flush(rbd_image_t /*image*/, rbd_completion_t completion) {
    return fake_cluster().answer(completion, [] { return ++fake_cluster().flushes, ssize_t{0}; });
}
int rbd_aio_discard(rbd_image_t /*image*/, uint64_t offset, uint64_t length,
                    rbd_completion_t completion) {
    return viaduct::test::clear(offset, length, completion);
}
int rbd_aio_write_zeroes(rbd_image_t /*image*/, uint64_t offset, size_t length,
                         rbd_completion_t completion, int /*zero_flags*/, int /*op_flags*/) {
    return viaduct::test::clear(offset, length, completion);
}
}

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::error_of;
using test::random_bytes;
using test::SoftDisk;
using testing::AllOf;
using testing::HasSubstr;

class RbdDisk : public testing::Test {
protected:
    RbdDisk() {
        fake_cluster().error = 0;
        fake_cluster().flushes = 0;
        fake_cluster().delay_us = 0;
    }
    static SoftDeviceOptions options() {
        provide_rbd();
        SoftDeviceOptions options;
        options.image = "rbd:pool/disk";
        options.queues = 2;
        return options;
    }
    static Bytes content(std::size_t offset, std::size_t count) {
        const auto begin = fake_cluster().content.begin() + static_cast<long>(offset);
        return {begin, begin + static_cast<long>(count)};
    }

    SoftDisk disk_{options()};
};

TEST_F(RbdDisk, ReadsWritesAndClears) {
    disk_.start();
    const Bytes bytes = random_bytes(std::size_t{20} * 4096, 1);
    ASSERT_EQ(
        disk_.run(0, VIRTIO_BLK_T_OUT, 8, disk_.put(bytes), bytes.size(), test::Framing::plain, 7),
        VIRTIO_BLK_S_OK);
    EXPECT_EQ(content(4096, bytes.size()), bytes);
    EXPECT_EQ(fake_cluster().flushes, 0U);
    ASSERT_EQ(disk_.flush(), VIRTIO_BLK_S_OK);
    EXPECT_EQ(fake_cluster().flushes, 1U);
    const Iova back = disk_.memory().allocate(bytes.size());
    ASSERT_EQ(disk_.run(1, VIRTIO_BLK_T_IN, 8, back, bytes.size()), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk_.get(back, bytes.size()), bytes);
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_DISCARD, {{8, 8, 0}}), VIRTIO_BLK_S_OK);
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{24, 8, 0}, {40, 8, 1}}), VIRTIO_BLK_S_OK);
    for (const std::size_t page : {1U, 3U, 5U}) EXPECT_EQ(content(4096 * page, 4096), Bytes(4096));
}

TEST_F(RbdDisk, FlushesEachWriteForADriverThatCannot) {
    disk_.start_without(VIRTIO_BLK_F_FLUSH);
    ASSERT_EQ(disk_.write(0, Bytes(4096)), VIRTIO_BLK_S_OK);
    EXPECT_EQ(fake_cluster().flushes, 1U);
}

TEST_F(RbdDisk, TellsErrorsAndGoesOn) {
    disk_.start();
    testing::internal::CaptureStderr();
    fake_cluster().error = EIO;
    EXPECT_EQ(disk_.write(8, Bytes(4096)), VIRTIO_BLK_S_IOERR);
    fake_cluster().error = 0;
    EXPECT_EQ(disk_.write(8, Bytes(4096)), VIRTIO_BLK_S_OK);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("at 4096 failed"));
}

TEST_F(RbdDisk, MovesNoMoreAtATimeThanItsBoundHoweverOftenTheSameMemoryIsNamed) {
    disk_.start();
    fake_cluster().delay_us = 20'000;
    fake_cluster().most_moving = 0;
    constexpr std::size_t length = std::size_t{6} << 20;
    const Iova content = disk_.memory().allocate(length);
    std::vector<test::PostedRequest> requests;
    for (unsigned i = 0; i < 20; ++i) {
        requests.push_back(disk_.post(0, VIRTIO_BLK_T_IN, 0, content, length));
    }
    disk_.driver().publish_and_kick();
    for (std::size_t i = 0; i < requests.size(); ++i) EXPECT_TRUE(disk_.driver().wait_used());
    for (const test::PostedRequest& request : requests) {
        EXPECT_EQ(disk_.memory().load<std::uint8_t>(request.status), VIRTIO_BLK_S_OK);
    }
    EXPECT_LE(fake_cluster().most_moving.load(), RbdLane::most_bytes);
    EXPECT_GT(fake_cluster().most_moving.load(), RbdLane::most_bytes / 2);
}

TEST_F(RbdDisk, RefusesARequestOfMoreThanItMovesAtATime) {
    fake_cluster().content.resize(std::size_t{128} << 20);
    SoftDisk large(options());
    large.start();
    testing::internal::CaptureStderr();
    constexpr std::size_t piece = std::size_t{8} << 20;
    const Iova content = large.memory().allocate(piece);
    std::vector<test::Buffer> buffers{{large.put_header(VIRTIO_BLK_T_IN, 0), 16, false}};
    for (unsigned i = 0; i < 9; ++i) buffers.push_back({content, piece, true});
    const Iova status = large.put_status();
    buffers.push_back({status, 1, true});
    large.driver().add(buffers);
    large.driver().publish_and_kick();
    EXPECT_TRUE(large.driver().wait_used());
    EXPECT_EQ(large.memory().load<std::uint8_t>(status), VIRTIO_BLK_S_IOERR);
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("failed"));
    EXPECT_EQ(large.write(8, Bytes(4096)), VIRTIO_BLK_S_OK);
    fake_cluster().content.resize(std::size_t{8} << 20);
}

TEST_F(RbdDisk, WaitsForWhatIsInFlightAtAReset) {
    fake_cluster().delay_us = 50'000;
    for (unsigned round = 0; round < 5; ++round) {
        disk_.driver().start_at({});
        disk_.start();
        std::vector<Iova> buffers;
        for (unsigned i = 0; i < 10; ++i) {
            buffers.push_back(disk_.put(Bytes(4096)));
            disk_.post(0, VIRTIO_BLK_T_IN, std::uint64_t{i} * 8, buffers.back(), 4096);
        }
        disk_.driver().publish_and_kick();
        ::usleep(20'000 * round);
        disk_.device().reset();
        for (const Iova buffer : buffers) {
            const auto bytes = disk_.memory().at(buffer, 4096);
            std::fill(bytes.begin(), bytes.end(), std::byte{0x5a});
        }
        ::usleep(100'000);
        for (const Iova buffer : buffers) {
            ASSERT_EQ(disk_.get(buffer, 4096), Bytes(4096, std::byte{0x5a}));
        }
        while (disk_.driver().take_used()) {
        }
        disk_.driver().forget_outstanding();
    }
}

TEST(RbdImageName, HasAPoolAnImageAndOptions) {
    const RbdName name("rbd:pool/space/disk:id=me:conf=/etc/x.conf");
    EXPECT_EQ(name.pool, "pool");
    EXPECT_EQ(name.name_space, "space");
    EXPECT_EQ(name.image, "disk");
    EXPECT_EQ(name.user, "me");
    EXPECT_EQ(name.conf, "/etc/x.conf");
    for (const char* const bad : {"rbd:", "rbd:pool", "rbd:/disk", "rbd:pool/", "rbd:a/b/c/d"}) {
        EXPECT_THAT(error_of([&] { const RbdName wrong(bad); }),
                    AllOf(HasSubstr(bad), HasSubstr("rbd:POOL/IMAGE")));
    }
    EXPECT_THAT(error_of([] { const RbdName wrong("rbd:pool/disk:key=x"); }), HasSubstr("id=USER"));
}

TEST(RbdImageErrors, SayWhatIsMissing) {
    fake_cluster().error = 0;
    const auto error = [](const char* name) {
        return error_of([&] { const RbdImage image({.name = name}); });
    };
    EXPECT_THAT(error("rbd:lake/disk"), HasSubstr("ceph osd lspools"));
    EXPECT_THAT(error("rbd:pool/disc"), HasSubstr("rbd ls"));
    EXPECT_THAT(error("rbd:pool/disk:conf=/no/such"), HasSubstr(":conf=FILE"));
    fake_cluster().error = EIO;
    EXPECT_THAT(error("rbd:pool/disk"), HasSubstr("cannot be reached"));
    fake_cluster().error = 0;
}

}  // namespace
}  // namespace viaduct::soft
