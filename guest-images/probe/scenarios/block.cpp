// virtio-blk requests with polling: that data arrives where it belongs.
#include <initializer_list>

#include "guest-images/probe/block.hpp"

#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Device;
using block::RequestType;
using block::Status;
using virtio::Segment;

uint64_t first_sector() { return option_number("sector", 0); }

// Cuts a buffer into pieces of the given sizes, over and over until it is used up.
size_t cut(void* buffer, uint32_t bytes, const uint32_t* sizes, size_t size_count,
           bool device_writes, Segment* segments) {
    size_t count = 0;
    uint32_t done = 0;
    while (done < bytes) {
        CHECK(count < block::Queue::most_segments, count);
        const uint32_t wanted = sizes[count % size_count];
        const uint32_t length = wanted < bytes - done ? wanted : bytes - done;
        segments[count++] = {address_of(buffer) + done, length, device_writes};
        done += length;
    }
    return count;
}

void transfer_in_pieces(block::Queue& queue, uint32_t bytes, const uint32_t* sizes,
                        size_t size_count, uint32_t seed) {
    const uint64_t sector = first_sector();
    void* written = allocate(bytes);
    void* read = allocate(bytes);
    pattern::fill(written, sector, bytes, seed);
    Segment segments[block::Queue::most_segments];
    size_t count = cut(written, bytes, sizes, size_count, false, segments);
    CHECK_EQUAL(queue.transfer(RequestType::write, sector, segments, count), Status::ok);
    // Read back in other pieces than written.
    const uint32_t other_sizes[] = {bytes / 2, bytes / 4, bytes};
    count = cut(read, bytes, other_sizes, 3, true, segments);
    CHECK_EQUAL(queue.transfer(RequestType::read, sector, segments, count), Status::ok);
    pattern::check(read, sector, bytes, seed);
}

void run_read_write() {
    Device device{virtio::choose_function()};
    device.start({.wanted_features = block::feature::seg_max | block::feature::size_max});
    uint32_t seed = 1;
    for (const uint32_t bytes : {512U, 1024U, 4096U, 16384U, 65536U}) {
        pattern::write_and_verify(device.queue(), first_sector() + seed, bytes, seed);
        ++seed;
    }
    const uint32_t pages[] = {4096};
    transfer_in_pieces(device.queue(), 65536, pages, 1, 10);
    const uint32_t sectors[] = {512, 1024, 1536};
    transfer_in_pieces(device.queue(), 16384, sectors, 3, 11);
    // Memory alignment is the driver's choice: pieces that are no multiple of anything.
    const uint32_t odd[] = {1, 511, 700, 8, 4000};
    transfer_in_pieces(device.queue(), 16384, odd, 5, 12);
    const auto last = device.capacity() - 8;
    pattern::write_and_verify(device.queue(), last, 4096, 13);
}

constexpr Scenario scenarios[] = {
    {"read-write", run_read_write},
};

}  // namespace

constexpr ScenarioList block_scenarios{scenarios};

}  // namespace probe
