/// A guest with a disk, without a machine: a device, usually the embedded one, brought up as
/// vhost-vdpa's rules want it, a RingDriver for each queue, and virtio-blk requests in few words.
#pragma once

#include <fcntl.h>
#include <linux/virtio_blk.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "devices/virtio/spec.hpp"
#include "tests/support/eventually.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/soft/soft_device.hpp"

namespace viaduct::test {

inline constexpr std::size_t sector = 512;

using Bytes = std::vector<std::byte>;

inline Bytes random_bytes(std::size_t count, unsigned seed) {
    std::mt19937 generator(seed);
    Bytes bytes(count);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
    return bytes;
}

/// A file that goes away with the test. `/dev/shm` is a tmpfs, `/var/tmp` a disk.
class TemporaryImage {
public:
    explicit TemporaryImage(const std::string& folder, std::size_t size = std::size_t{8} << 20)
        : path_(folder + "/viaduct-test-XXXXXX") {
        fd_ = Fd(::mkstemp(path_.data()));
        if (!fd_ || ::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
            throw SystemError(path_);
        }
    }
    TemporaryImage(const TemporaryImage&) = delete;
    TemporaryImage& operator=(const TemporaryImage&) = delete;
    ~TemporaryImage() { std::filesystem::remove(path_); }

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] Bytes read(std::size_t offset, std::size_t count) const {
        Bytes bytes(count);
        EXPECT_EQ(::pread(fd_.get(), bytes.data(), count, static_cast<off_t>(offset)),
                  static_cast<ssize_t>(count));
        return bytes;
    }
    void write(std::size_t offset, const Bytes& bytes) const {
        EXPECT_EQ(::pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
                  static_cast<ssize_t>(bytes.size()));
    }

private:
    std::string path_;
    Fd fd_;
};

/// A request that was posted: where its parts lie.
struct PostedRequest {
    std::uint16_t head = 0;
    Iova content;
    std::size_t length = 0;
    Iova status;
};

enum class Framing { plain, indirect };

/// Everything a driver may accept but the event index, by which tests come in two kinds.
inline std::uint64_t usual_features(vdpa::Device& device, bool event_idx) {
    const std::uint64_t all = device.features();
    return event_idx ? all : all & ~virtio::feature::event_idx;
}

template <typename Device>
class DrivenDisk {
public:
    explicit DrivenDisk(std::unique_ptr<Device> device, std::uint16_t ring_size = 64,
                        bool event_idx = true)
        : device_(std::move(device)), event_idx_(event_idx) {
        device_->map(std::array{memory_.region()});
        for (unsigned queue = 0; queue < device_->queue_count(); ++queue) {
            drivers_.push_back(std::make_unique<RingDriver>(memory_, ring_size, event_idx));
        }
    }
    explicit DrivenDisk(const soft::SoftDeviceOptions& options, std::uint16_t ring_size = 64,
                        bool event_idx = true)
        : DrivenDisk(std::make_unique<Device>(options), ring_size, event_idx) {}

    [[nodiscard]] Device& device() { return *device_; }
    /// As if the process behind the disk had died and another come: the rings are as they were.
    void replace_device(std::unique_ptr<Device> device) {
        device_ = std::move(device);
        device_->map(std::array{memory_.region()});
    }
    [[nodiscard]] RingDriver& driver(unsigned queue = 0) { return *drivers_.at(queue); }
    [[nodiscard]] GuestMemory& memory() { return memory_; }
    [[nodiscard]] const EventFd& config_call() const { return config_call_; }

    void negotiate(std::uint64_t features) {
        namespace status = virtio::status;
        device_->set_status(status::acknowledge | status::driver);
        device_->set_features(features);
        device_->set_status(status::acknowledge | status::driver | status::features_ok);
    }
    void set_up_queues(virtio::RingIndex base = {}) {
        for (unsigned queue = 0; queue < drivers_.size(); ++queue) {
            RingDriver& driver = *drivers_[queue];
            device_->set_queue_size(queue, driver.setup().size);
            device_->set_ring_addresses(queue, driver.addresses());
            device_->set_ring_state(queue, vdpa::SplitRingState{base.value()});
            device_->set_kick(queue, driver.kick_event());
            device_->set_call(queue, driver.call_event());
            device_->enable_queue(queue, true);
        }
        device_->set_config_call(config_call_);
    }
    void go() {
        device_->set_status(
            static_cast<std::uint8_t>(device_->status() | virtio::status::driver_ok));
    }
    void start(virtio::RingIndex base = {}) {
        negotiate(usual_features(*device_, event_idx_));
        set_up_queues(base);
        go();
    }
    void start_without(unsigned feature) {
        negotiate(usual_features(*device_, event_idx_) & ~virtio::feature::bit(feature));
        set_up_queues();
        go();
    }

    [[nodiscard]] Iova put_header(std::uint32_t type, std::uint64_t first_sector) {
        const Iova header = memory_.allocate(sizeof(virtio_blk_outhdr), 16);
        memory_.store(header, virtio_blk_outhdr{type, 0, first_sector});
        return header;
    }
    [[nodiscard]] Iova put_status() {
        const Iova status = memory_.allocate(1, 1);
        memory_.store(status, std::uint8_t{0xee});
        return status;
    }

    /// Posts a request over `content`, in `pieces` buffers of about the same length.
    PostedRequest post(unsigned queue, std::uint32_t type, std::uint64_t first_sector, Iova content,
                       std::size_t length, Framing framing = Framing::plain,
                       std::size_t pieces = 1) {
        const bool reads = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
        PostedRequest request{0, content, length, put_status()};
        std::vector<Buffer> buffers{{put_header(type, first_sector), 16, false}};
        for (std::size_t piece = 0; length != 0 && piece < pieces; ++piece) {
            const std::size_t from = length * piece / pieces;
            const std::size_t to = length * (piece + 1) / pieces;
            buffers.push_back({content + from, static_cast<std::uint32_t>(to - from), reads});
        }
        buffers.push_back({request.status, 1, true});
        RingDriver& driver = *drivers_.at(queue);
        request.head =
            framing == Framing::plain ? driver.add(buffers) : driver.add_indirect(buffers);
        return request;
    }

    /// Posts, kicks, waits; the request's status, or 0xff when it never came back.
    std::uint8_t run(unsigned queue, std::uint32_t type, std::uint64_t first_sector, Iova content,
                     std::size_t length, Framing framing = Framing::plain, std::size_t pieces = 1) {
        const PostedRequest request =
            post(queue, type, first_sector, content, length, framing, pieces);
        return finish(queue, request);
    }
    std::uint8_t finish(unsigned queue, const PostedRequest& request) {
        RingDriver& driver = *drivers_.at(queue);
        driver.publish_and_kick();
        const auto used = driver.wait_used();
        if (!used) return 0xff;
        EXPECT_EQ(used->id, request.head);
        used_length_ = used->length;
        return memory_.load<std::uint8_t>(request.status);
    }
    [[nodiscard]] std::uint32_t used_length() const { return used_length_; }

    std::uint8_t write(std::uint64_t first_sector, const Bytes& bytes, unsigned queue = 0) {
        return run(queue, VIRTIO_BLK_T_OUT, first_sector, put(bytes), bytes.size());
    }
    std::uint8_t flush() { return run(0, VIRTIO_BLK_T_FLUSH, 0, Iova{}, 0); }
    std::uint8_t clear(std::uint32_t type,
                       const std::vector<virtio_blk_discard_write_zeroes>& ranges) {
        const auto bytes = std::as_bytes(std::span(ranges));
        return run(0, type, 0, put({bytes.begin(), bytes.end()}), bytes.size());
    }
    [[nodiscard]] Iova put(const Bytes& bytes) {
        const Iova at = memory_.allocate(std::max<std::size_t>(bytes.size(), 1));
        std::copy(bytes.begin(), bytes.end(), memory_.at(at, bytes.size()).begin());
        return at;
    }
    [[nodiscard]] Bytes get(Iova at, std::size_t count) const {
        const auto bytes = memory_.at(at, count);
        return {bytes.begin(), bytes.end()};
    }

private:
    GuestMemory memory_{std::size_t{32} << 20};
    std::vector<std::unique_ptr<RingDriver>> drivers_;
    EventFd config_call_;
    std::unique_ptr<Device> device_;  // goes before the eventfds that it uses
    bool event_idx_ = true;
    std::uint32_t used_length_ = 0;
};

using SoftDisk = DrivenDisk<soft::SoftDevice>;

/// The text of the Error that `action` throws; empty when it throws none.
template <typename Action>
std::string error_of(Action&& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

}  // namespace viaduct::test
