// virtio-blk requests with polling: that data arrives where it belongs.
#include "guest-images/probe/block.hpp"

#include <initializer_list>

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

constexpr uint64_t sector_bytes = block::sector_size;

uint64_t first_sector() {
    return option_number("sector", 0);
}

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

Device start_with(uint64_t feature, Text name) {
    Device device{virtio::choose_function()};
    device.start({.wanted_features = feature});
    CHECK(device.has(feature), name, " is not offered");
    return device;
}

void run_flush() {
    Device device = start_with(block::feature::flush, "FLUSH");
    pattern::write_and_verify(device.queue(), first_sector(), 4096, 1);
    CHECK_EQUAL(device.queue().transfer(RequestType::flush, 0, nullptr, 0), Status::ok);
}

void run_get_id() {
    constexpr uint32_t id_size = 20;
    Device device{virtio::choose_function()};
    device.start({});
    auto* id = static_cast<char*>(allocate(id_size + 1));
    __builtin_memset(id, 0x7f, id_size + 1);
    const Segment payload{address_of(id), id_size, true};
    CHECK_EQUAL(device.queue().transfer(RequestType::get_id, 0, &payload, 1), Status::ok);
    CHECK_EQUAL(id[id_size], 0x7f);
    id[id_size] = '\0';
    print("id \"", id, "\"\n");
    const Text wanted = option("serial", id);
    CHECK(Text{id} == wanted, id, ", wanted ", wanted);
}

Status send_range(Device& device, RequestType type, const block::RangeSegment& range) {
    auto& copy = create<block::RangeSegment>(range);
    const Segment payload{address_of(&copy), sizeof(copy), false};
    return device.queue().transfer(type, 0, &payload, 1);
}

// What must fail for both types: past the end, longer than the limit, flags that are not defined.
void check_range_limits(Device& device, RequestType type, uint32_t limit_offset) {
    const auto most_sectors = device.transport.read_config<uint32_t>(limit_offset);
    CHECK(most_sectors > 0);
    CHECK(send_range(device, type, {device.capacity(), 8, 0}) != Status::ok);
    if (most_sectors < 0xffffffff) {
        CHECK(send_range(device, type, {0, most_sectors + 1, 0}) != Status::ok);
    }
    CHECK_EQUAL(send_range(device, type, {0, 8, 0x80}), Status::unsupported);
}

void run_discard() {
    Device device = start_with(block::feature::discard, "DISCARD");
    const uint64_t sector = first_sector() + 64;
    pattern::write_and_verify(device.queue(), sector, 65536, 1);
    CHECK_EQUAL(send_range(device, RequestType::discard, {sector + 32, 64, 0}), Status::ok);
    // What was discarded may read as anything; what was not has to be as it was.
    void* buffer = allocate(65536);
    CHECK_EQUAL(device.queue().read(sector, buffer, 65536), Status::ok);
    pattern::check(buffer, sector, 32 * sector_bytes, 1);
    const auto* behind = static_cast<const uint8_t*>(buffer) + 96 * sector_bytes;
    pattern::check(behind, sector + 96, 32 * sector_bytes, 1);
    pattern::write_and_verify(device.queue(), sector + 32, 32768, 2);
    check_range_limits(device, RequestType::discard, block::config::max_discard_sectors);
}

void run_write_zeroes() {
    Device device = start_with(block::feature::write_zeroes, "WRITE_ZEROES");
    const uint64_t sector = first_sector() + 256;
    void* buffer = allocate(65536);
    const auto* bytes = static_cast<const uint8_t*>(buffer);
    constexpr uint32_t unmap = 1;
    for (const uint32_t flags : {0U, unmap}) {
        pattern::write_and_verify(device.queue(), sector, 65536, 3 + flags);
        CHECK_EQUAL(send_range(device, RequestType::write_zeroes, {sector + 8, 72, flags}),
                    Status::ok);
        CHECK_EQUAL(device.queue().read(sector, buffer, 65536), Status::ok);
        pattern::check(bytes, sector, 8 * sector_bytes, 3 + flags);
        CHECK(pattern::is_filled_with(bytes + 8 * sector_bytes, 72 * sector_bytes, 0));
        pattern::check(bytes + 80 * sector_bytes, sector + 80, 48 * sector_bytes, 3 + flags);
    }
    check_range_limits(device, RequestType::write_zeroes, block::config::max_write_zeroes_sectors);
}

void run_past_end() {
    Device device{virtio::choose_function()};
    device.start({});
    block::Queue& queue = device.queue();
    const uint64_t capacity = device.capacity();
    constexpr uint64_t tag = 0x7e7e7e7e7e7e7e7e;
    void* buffer = allocate(8192);
    pattern::fill_with(buffer, 8192, tag);
    // 2^55 sectors are 2^64 bytes: a product that wraps to a place on the disk.
    constexpr uint64_t wrapping = uint64_t{1} << 55;
    for (const uint64_t sector :
         {capacity, capacity - 1, capacity + 1000, ~uint64_t{0}, wrapping, wrapping - 1}) {
        CHECK_EQUAL(queue.read(sector, buffer, 1024), Status::io_error);
        CHECK_EQUAL(queue.write(sector, buffer, 1024), Status::io_error);
    }
    for (const uint32_t bytes : {1U, 511U, 513U, 1000U}) {
        CHECK_EQUAL(queue.read(0, buffer, bytes), Status::io_error);
        CHECK_EQUAL(queue.write(0, buffer, bytes), Status::io_error);
    }
    constexpr auto no_such_type = static_cast<RequestType>(0x1234);
    const Segment payload{address_of(buffer), 512, true};
    CHECK_EQUAL(queue.transfer(no_such_type, 0, &payload, 1), Status::unsupported);
    CHECK_EQUAL(queue.read(capacity - 2, buffer, 1024), Status::ok);
    CHECK_EQUAL(device.transport.device_status() & virtio::status::needs_reset, 0);
}

void run_readonly() {
    Device device = start_with(block::feature::read_only, "RO");
    void* buffer = allocate(4096);
    auto* again = static_cast<uint64_t*>(allocate(4096));
    CHECK_EQUAL(device.queue().read(0, again, 4096), Status::ok);
    pattern::fill_with(buffer, 4096, ~again[0]);
    CHECK_EQUAL(device.queue().write(0, buffer, 4096), Status::io_error);
    const uint64_t before = again[0];
    CHECK_EQUAL(device.queue().read(0, again, 4096), Status::ok);
    CHECK_EQUAL(again[0], before);
}

constexpr Scenario scenarios[] = {
    {"read-write", run_read_write},
    {"flush", run_flush},
    {"get-id", run_get_id},
    {"discard", run_discard},
    {"write-zeroes", run_write_zeroes},
    {"past-end", run_past_end},
    {"readonly", run_readonly},
};

}  // namespace

constexpr ScenarioList block_scenarios{scenarios};

}  // namespace probe
