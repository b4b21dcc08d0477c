// How many chains a relay carries: both directions, on one core, with everything on that a disk's
// slow path has.
#include "vdpa/datapath/relay.hpp"

#include <array>
#include <chrono>

#include <fmt/core.h>

#include "base/error.hpp"
#include "devices/virtio/split_ring_device_view.hpp"
#include "devices/virtio/split_ring_driver_view.hpp"
#include "tests/bench/benchmarks.hpp"
#include "tests/unit/ring_driver.hpp"
#include "vdpa/datapath/personality/block.hpp"

namespace viaduct::bench {
namespace {

using Clock = datapath::Relay::Clock;
using test::GuestMemory;
using virtio::Descriptor;
namespace flag = virtio::descriptor_flag;

constexpr std::uint16_t ring_size = 256;
constexpr unsigned chains_per_round = 1U << 20U;

/// A driver and a device that do nothing but keep the rings full: what they cost is measured with
/// the relay.
class Pipeline {
public:
    Pipeline(unsigned batch, bool indirect)
        : batch_(batch),
          driver_ring_(memory_, ring_size, true),
          shadow_(std::array{ring_size}, vdpa::IovaRange{Iova{0}, Iova{~std::uint64_t{0}}},
                  memory_.space()),
          shadow_queue_(shadow_.lay_out(0, ring_size)),
          relay_({.memory = memory_.space(),
                  .guest_ring = driver_ring_.ring(),
                  .base = {},
                  .shadow = shadow_queue_,
                  .event_idx = true,
                  .indirect = indirect,
                  .personality = &datapath::block_personality,
                  .guest_call = call_,
                  .device_kick = kick_,
                  .statistics = statistics_}),
          driver_(driver_ring_.ring(), true),
          device_(shadow_queue_.ring, true, virtio::RingIndex(0)) {
        for (unsigned i = 0; i < batch_; ++i) heads_.push_back(make_request(i, indirect));
        relay_.take_over();
    }

    /// Seconds for so many chains.
    double run(unsigned chains) {
        const auto start = Clock::now();
        for (unsigned done = 0; done < chains; done += batch_) {
            for (const std::uint16_t head : heads_) driver_.put_available(head);
            (void)driver_.publish_available();
            const auto now = Clock::now();
            relay_.forward(now);
            for (auto count = device_.available().value_or(0); count > 0; --count) {
                device_.put_used(device_.head(), 4097);
                device_.take();
            }
            (void)device_.publish_used();
            relay_.complete(now);
            for (auto count = driver_.used().value_or(0); count > 0; --count) {
                (void)driver_.take_used();
            }
        }
        if (relay_.in_flight() != 0 || relay_.guest_fault() || relay_.device_fault()) {
            throw Error("the relay has not carried what it was given");
        }
        return std::chrono::duration<double>(Clock::now() - start).count();
    }

private:
    /// A read of 4 KiB: header, data, status.
    std::uint16_t make_request(unsigned number, bool indirect) {
        const Iova header = memory_.allocate(sizeof(virtio_blk_outhdr), 16);
        memory_.store(header, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, number});
        const auto head = static_cast<std::uint16_t>(indirect ? number : 3 * number);
        const auto second = static_cast<std::uint16_t>(indirect ? 1 : head + 1);
        const auto third = static_cast<std::uint16_t>(second + 1);
        const std::array chain{
            Descriptor{header, sizeof(virtio_blk_outhdr), flag::next, second},
            Descriptor{memory_.allocate(4096), 4096, flag::next | flag::write, third},
            Descriptor{memory_.allocate(1, 16), 1, flag::write, 0}};
        if (indirect) {
            const Iova table = memory_.allocate(sizeof chain, 16);
            memory_.store(table, chain);
            driver_ring_.set_descriptor(head, {table, sizeof chain, flag::indirect, 0});
        } else {
            for (std::uint16_t i = 0; i < 3; ++i) {
                driver_ring_.set_descriptor(static_cast<std::uint16_t>(head + i), chain[i]);
            }
        }
        return head;
    }

    unsigned batch_;
    GuestMemory memory_;
    test::RingDriver driver_ring_;
    datapath::ShadowMemory shadow_;
    datapath::ShadowQueue shadow_queue_;
    EventFd call_;
    EventFd kick_;
    datapath::QueueStatistics statistics_;
    datapath::Relay relay_;
    virtio::SplitRingDriverView driver_;
    virtio::SplitRingDeviceView device_;
    std::vector<std::uint16_t> heads_;
};

}  // namespace

Report relay(unsigned runs) {
    Report report{"relay", "Chains that a relay carries in a second", {}, {}, {}};
    report.notes = {
        "One core; reads of 4 KiB in three descriptors; both directions, with validation, the "
        "block",
        "personality, statistics and latency histograms. The driver's and the device's own work on",
        "the rings is in the time."};
    for (const unsigned batch : {1U, 8U, 64U}) {
        for (const bool indirect : {true, false}) {
            Pipeline pipeline(batch, indirect);
            Series series{fmt::format("batches of {}", batch),
                          indirect ? "indirect tables" : "in the ring",
                          "million/s",
                          {}};
            pipeline.run(chains_per_round / 10);
            for (unsigned run = 0; run < runs; ++run) {
                series.samples.push_back(chains_per_round / pipeline.run(chains_per_round) / 1e6);
            }
            report.series.push_back(series);
        }
    }
    for (const Series& series : report.series) {
        if (series.group != "batches of 64") continue;
        report.bars.push_back({series.group + ", " + series.label + ", median", series.median(),
                               Bar::Bound::at_least, 3, "million/s"});
    }
    return report;
}

}  // namespace viaduct::bench
