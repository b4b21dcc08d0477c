// The embedded disk's engine, driven by a driver of this process over shared memory, beside fio's
// io_uring engine on the same file: what a virtqueue and a thread between cost at most.
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/bench/echo_device.hpp"
#include "tests/bench/fio.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/vm_process.hpp"
#include "tests/unit/soft_disk.hpp"

namespace viaduct::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t image_bytes = 256U << 20;
constexpr std::uint16_t ring_size = 256;
/// The depth with a bar is measured so many times more: from one second to the next the disk of a
/// shared machine varies by more than what is to be told apart.
constexpr unsigned barred_depth = 32;
constexpr unsigned barred_runs = 3;

/// A disk with a driver that keeps a number of requests under way, as fio does, each at a place of
/// its own choosing.
class BusyDisk {
public:
    BusyDisk(const std::string& image, bool pin_memory)
        : disk_(options(image, pin_memory), ring_size) {
        disk_.start();
    }

    /// For about a second.
    double requests_per_second(const Workload& workload) {
        const bool reads = std::string_view(workload.pattern) == "randread";
        const std::uint32_t bytes = workload.kibibytes * 1024;
        make_slots(workload.depth, bytes);
        driver_.suppress_interrupts();
        const auto start = Clock::now();
        for (Slot& slot : slots_) post(slot, reads, bytes);
        std::uint64_t done = 0;
        std::uint64_t under_way = workload.depth;
        while (under_way > 0) {
            if (!driver_.request_interrupts()) call_.wait();
            const bool more = Clock::now() - start < std::chrono::seconds(1);
            while (const auto used = driver_.take_used()) {
                ++done;
                --under_way;
                Slot& slot = *by_head_[used->id];
                if (memory_.load<std::uint8_t>(slot.status) != VIRTIO_BLK_S_OK) {
                    throw Error("a request failed");
                }
                if (!more) continue;
                post(slot, reads, bytes);
                ++under_way;
            }
        }
        return static_cast<double>(done) /
               std::chrono::duration<double>(Clock::now() - start).count();
    }

private:
    struct Slot {
        Iova header;
        Iova data;
        Iova status;
        Iova table;
    };

    static soft::SoftDeviceOptions options(const std::string& image, bool pin_memory) {
        soft::SoftDeviceOptions options;
        options.image = image;
        options.direct = soft::DirectIo::on;
        options.queue_size = ring_size;
        options.pin_memory = pin_memory;
        return options;
    }

    void make_slots(unsigned depth, std::uint32_t bytes) {
        while (slots_.size() > depth) slots_.pop_back();
        while (slots_.size() < depth) {
            slots_.push_back({memory_.allocate(sizeof(virtio_blk_outhdr), 16),
                              memory_.allocate(bytes), memory_.allocate(1, 1),
                              memory_.allocate(3 * sizeof(virtio::Descriptor), 16)});
        }
    }

    /// One at a time, as fio submits them: the disk begins with the first.
    void post(Slot& slot, bool reads, std::uint32_t bytes) {
        const std::uint64_t place = random_() % (image_bytes / bytes) * (bytes / test::sector);
        const std::uint32_t type = reads ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
        memory_.store(slot.header, virtio_blk_outhdr{type, 0, place});
        const std::array<test::Buffer, 3> request{
            test::Buffer{slot.header, sizeof(virtio_blk_outhdr), false},
            test::Buffer{slot.data, bytes, reads}, test::Buffer{slot.status, 1, true}};
        by_head_[driver_.add_indirect(request, slot.table)] = &slot;
        driver_.publish_and_kick();
    }

    test::SoftDisk disk_;
    test::GuestMemory& memory_ = disk_.memory();
    test::RingDriver& driver_ = disk_.driver();
    EdgeWait call_{driver_.call_event()};
    std::vector<Slot> slots_;
    std::array<Slot*, ring_size> by_head_{};
    std::minstd_rand random_;
};

/// On the disk, and not in the page cache: direct I/O writes out and throws away what it finds
/// there, page by page, which would be at the expense of whoever comes first.
void settle(const std::string& image) {
    const Fd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file || ::fsync(file.get()) != 0) throw SystemError(image);
    if (const int error = ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED); error != 0) {
        throw SystemError(image, error);
    }
}

double fio_per_second(const std::string& image, const Workload& workload) {
    const auto outcome = test::run({"bash", "-c", fio_command(image, workload, "io_uring")});
    return parse_fio(outcome.out, workload).per_second;
}

}  // namespace

Report engine(unsigned runs) {
    Report report{"engine", "The embedded disk's engine beside fio on the same file", {}, {}, {}};
    report.notes = {
        fmt::format("A raw file of {} MiB in {}, direct I/O, a second for each run, in turn.",
                    image_bytes >> 20, std::filesystem::temp_directory_path().string()),
        "engine: a driver thread of this process over shared memory, one queue of 256 entries.",
        "fio: --ioengine=io_uring, one job."};
    const test::TemporaryDirectory directory;
    const std::string image = directory.path("disk.raw");
    test::make_pattern_image(image, image_bytes);
    settle(image);
    for (const unsigned depth : {1U, 8U, barred_depth}) {
        for (const Workload& workload : {Workload{"4 KiB random read", "randread", 4, depth},
                                         Workload{"4 KiB random write", "randwrite", 4, depth}}) {
            Series ours{workload.title(), "engine", "IOPS", {}};
            Series pinned{workload.title(), "engine, pin-memory", "IOPS", {}};
            Series theirs{workload.title(), "fio, io_uring", "IOPS", {}};
            Series ratio{"IOPS over fio's", workload.title(), "x", {}};
            const bool barred = depth == barred_depth;
            for (unsigned run = 0; run < (barred ? barred_runs * runs : runs); ++run) {
                // The image is locked while the disk is there.
                ours.samples.push_back(BusyDisk(image, false).requests_per_second(workload));
                theirs.samples.push_back(fio_per_second(image, workload));
                pinned.samples.push_back(BusyDisk(image, true).requests_per_second(workload));
                ratio.samples.push_back(ours.samples.back() / theirs.samples.back());
            }
            if (barred) {
                report.bars.push_back({fmt::format("{}: IOPS over fio's", workload.title()),
                                       ratio.median(), Bar::Bound::at_least, 0.9, "x"});
            }
            report.series.insert(report.series.end(), {ours, pinned, theirs, ratio});
        }
    }
    return report;
}

}  // namespace viaduct::bench
