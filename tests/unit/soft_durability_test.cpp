/// What a flush has answered for is there, whatever is killed afterwards: the process that writes,
/// and with it the server, where the image is on one.
#include <sys/mman.h>
#include <sys/wait.h>

#include <random>

#include "tests/support/repeated.hpp"
#include "tests/unit/soft_nbd_world.hpp"

namespace viaduct::soft {
namespace {

using test::NbdServer;
using test::SoftDisk;
using test::TemporaryDirectory;

constexpr std::size_t record_bytes = 4096;
constexpr std::uint64_t stride = 65536;  // each in a cluster of its own
constexpr std::uint64_t disk_bytes = std::uint64_t{256} << 20;
constexpr unsigned records = disk_bytes / stride;
constexpr unsigned records_per_flush = 4;

/// What the writing process tells, in memory that outlives it.
struct Progress {
    std::atomic<unsigned> flushed = 0;  // records
    std::atomic<bool> failed = false;
};

void fill_record(std::span<std::byte> bytes, unsigned number) {
    std::mt19937 generator(number);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(generator()); });
}

/// Writes record after record, and flushes now and then, until it is killed.
void write_records(const SoftDeviceOptions& options, Progress& progress) {
    SoftDisk disk(options);
    disk.start();
    const Iova buffer = disk.memory().allocate(record_bytes * records_per_flush);
    for (unsigned first = 0; first < records; first += records_per_flush) {
        std::vector<test::PostedRequest> requests;
        for (unsigned i = 0; i < records_per_flush; ++i) {
            const Iova at = buffer + i * record_bytes;
            fill_record(disk.memory().at(at, record_bytes), first + i);
            requests.push_back(disk.post(0, VIRTIO_BLK_T_OUT, (first + i) * stride / test::sector,
                                         at, record_bytes));
        }
        disk.driver().publish_and_kick();
        bool good = true;
        for (unsigned i = 0; i < records_per_flush; ++i)
            good &= disk.driver().wait_used().has_value();
        for (const auto& request : requests) {
            good &= disk.memory().load<std::uint8_t>(request.status) == VIRTIO_BLK_S_OK;
        }
        if (!good || disk.flush() != VIRTIO_BLK_S_OK) progress.failed = true;
        progress.flushed = first + records_per_flush;
    }
}

class FlushedRecords : public testing::Test {
protected:
    FlushedRecords()
        : shared_("progress", sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS),
          progress_(*new (shared_.data()) Progress) {}

    /// In a process of its own, until it is killed somewhere.
    template <typename AlsoKill>
    void write_and_kill(const SoftDeviceOptions& options, unsigned round, AlsoKill&& also_kill) {
        progress_.flushed = 0;
        const pid_t child = ::fork();
        if (child == 0) {
            log::set_level(log::Level::off);
            write_records(options, progress_);
            ::pause();
        }
        // After a few flushes, at a different time each round.
        EXPECT_TRUE(test::eventually([&] { return progress_.flushed != 0; }));
        ::usleep(1000 + round * 1777 % 30'000);
        also_kill();
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        EXPECT_FALSE(progress_.failed);
    }
    void expect_flushed(const SoftDeviceOptions& options) {
        SoftDisk disk(options);
        disk.start();
        const Iova buffer = disk.memory().allocate(record_bytes);
        test::Bytes expected(record_bytes);
        for (unsigned number = 0; number < progress_.flushed; ++number) {
            ASSERT_EQ(
                disk.run(0, VIRTIO_BLK_T_IN, number * stride / test::sector, buffer, record_bytes),
                VIRTIO_BLK_S_OK);
            fill_record(expected, number);
            ASSERT_TRUE(disk.get(buffer, record_bytes) == expected)
                << "record " << number << " of " << progress_.flushed << " is not there";
        }
    }

    TemporaryDirectory directory_;
    Mapping shared_;
    Progress& progress_;
};

TEST_F(FlushedRecords, AreInTheFileWhenTheProcessIsKilled) {
    for (unsigned round = 0; round < test::repeated(20); ++round) {
        const std::string path = directory_.path("disk.raw");
        std::filesystem::remove(path);
        const std::ofstream created(path);
        std::filesystem::resize_file(path, disk_bytes);
        SoftDeviceOptions options;
        options.image = path;
        write_and_kill(options, round, [] {});
        expect_flushed(options);
        if (HasFailure()) return;
    }
}

/// A qcow2's clusters are known to its server alone until they are flushed.
TEST_F(FlushedRecords, AreInTheQcow2WhenProcessAndServerAreKilled) {
    for (unsigned round = 0; round < test::repeated(20); ++round) {
        const std::string path = directory_.path("disk.qcow2");
        std::filesystem::remove(path);
        ASSERT_EQ(
            test::run({"qemu-img", "create", "-q", "-f", "qcow2", path, std::to_string(disk_bytes)})
                .status,
            0);
        NbdServer server(NbdServer::Kind::qemu, {"--persistent", "--format=qcow2", path});
        const auto options = test::options_for(server);
        write_and_kill(options, round, [&] { server.kill(); });
        server.start();
        expect_flushed(options);
        if (HasFailure()) return;
    }
}

}  // namespace
}  // namespace viaduct::soft
