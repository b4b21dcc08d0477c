// A virtio-blk device (virtio 1.2, 5.2) and its queues, each driven by one CPU at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest-images/probe/msix.hpp"
#include "guest-images/probe/pages.hpp"
#include "guest-images/probe/virtio_pci.hpp"
#include "guest-images/probe/virtqueue.hpp"

namespace probe::block {

inline constexpr uint32_t sector_size = 512;

namespace feature {
inline constexpr uint64_t size_max = 1ULL << 1;
inline constexpr uint64_t seg_max = 1ULL << 2;
inline constexpr uint64_t read_only = 1ULL << 5;
inline constexpr uint64_t flush = 1ULL << 9;
inline constexpr uint64_t multi_queue = 1ULL << 12;
inline constexpr uint64_t discard = 1ULL << 13;
inline constexpr uint64_t write_zeroes = 1ULL << 14;
}  // namespace feature

// Offsets in struct virtio_blk_config (5.2.4).
namespace config {
inline constexpr uint32_t capacity = 0;
inline constexpr uint32_t seg_max = 12;
inline constexpr uint32_t num_queues = 34;
inline constexpr uint32_t max_discard_sectors = 36;
inline constexpr uint32_t max_write_zeroes_sectors = 48;
inline constexpr uint32_t size = 60;
}  // namespace config

enum class RequestType : uint32_t {
    read = 0,
    write = 1,
    flush = 4,
    get_id = 8,
    discard = 11,
    write_zeroes = 13,
};

enum class Status : uint8_t { ok = 0, io_error = 1, unsupported = 2, untouched = 0xff };

struct RequestHeader {
    RequestType type;
    uint32_t reserved;
    uint64_t sector;
};

struct RangeSegment {  // of discard and write zeroes
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};

// What belongs to a request beside its payload; one for each descriptor that can be a head.
struct RequestSlot {
    RequestHeader header;
    Status status;
    uint8_t reserved[7];
};

enum class Completion { polling, msix, intx };

struct Done {
    uint16_t head;
    Status status;
    uint32_t length;
};

class Queue {
public:
    Queue(const virtio::Transport& transport, uint16_t index, uint16_t size, bool has_event_idx);

    virtio::Virtqueue ring;

    uint16_t index() const { return index_; }
    RequestSlot& slot(uint16_t head) { return slots_[head]; }
    // BARs have moved: look at where the doorbell is now.
    void locate(const virtio::Transport& transport) {
        notify_address_ = transport.notify_address(index_);
    }
    void set_completion(Completion completion) { completion_ = completion; }

    // Puts a request into the ring; nothing is notified yet. At most `most_segments` payload
    // segments.
    static constexpr size_t most_segments = 128;
    uint16_t submit(RequestType type, uint64_t sector, const virtio::Segment* payload,
                    size_t count);
    uint16_t submit_indirect(RequestType type, uint64_t sector, const virtio::Segment* payload,
                             size_t count);
    // Notifies the device if it wants to be, or in any case.
    void kick();
    void kick_always() const;

    // The next completed request; ends the run when none comes within `timeout=` seconds (10).
    Done wait();
    // Whether something was completed, and in interrupt mode its interrupt taken, in time.
    bool wait_quietly(Microseconds limit);

    // One request from start to end.
    Status transfer(RequestType type, uint64_t sector, const virtio::Segment* payload,
                    size_t count);
    Status read(uint64_t sector, void* buffer, uint32_t bytes);
    Status write(uint64_t sector, const void* buffer, uint32_t bytes);

private:
    size_t collect(RequestType type, uint64_t sector, const virtio::Segment* payload, size_t count,
                   virtio::Segment* segments);

    uint16_t index_;
    uint64_t notify_address_;
    Completion completion_ = Completion::polling;
    RequestSlot* slots_;
};

struct Setup {
    // Accepted when offered, beside VERSION_1, ACCESS_PLATFORM, RO, FLUSH, which always are.
    uint64_t wanted_features = 0;
    uint16_t queue_count = 1;
    uint16_t queue_size = 0;  // 0: the device's, at most 256
    Completion completion = Completion::polling;
};

class Device {
public:
    static constexpr uint16_t most_queues = 64;

    explicit Device(const pci::Function& function) : transport{function} {}

    virtio::Transport transport;

    // Reset, negotiation, queues, DRIVER_OK. May be called again: everything starts from scratch.
    void start(const Setup& setup);
    // The same up to where queues are set up.
    void negotiate(const Setup& setup);
    void set_up_queue(uint16_t index, uint16_t size, uint16_t msix_entry);
    void set_driver_ok() const { transport.add_status(virtio::status::driver_ok); }

    uint64_t features() const { return features_; }
    bool has(uint64_t feature) const { return (features_ & feature) != 0; }
    uint64_t capacity() const { return transport.read_config<uint64_t>(config::capacity); }
    Queue& queue(uint16_t index = 0) { return *queues_[index]; }

    // With Completion::msix: entry i of the table is queue i's, delivered on this vector.
    const MsixTable& msix() const { return *msix_; }
    uint8_t vector(uint16_t queue = 0) const { return vectors_[queue]; }

private:
    void prepare_msix(const Setup& setup);

    uint64_t features_ = 0;
    Queue* queues_[most_queues]{};
    MsixTable* msix_ = nullptr;
    uint8_t vectors_[most_queues]{};
};

}  // namespace probe::block
