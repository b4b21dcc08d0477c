#include "tests/fuzz/relay_stage.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "tests/fuzz/targets.hpp"
#include "vdpa/datapath/personality/block.hpp"

namespace viaduct::fuzz {

using virtio::RingFault;
using virtio::RingIndex;
using virtio::SplitRing;

namespace {

/// Descriptors: an indirect table may be longer than any ring of the device.
constexpr std::uint16_t longest_table = 256;
constexpr vdpa::IovaRange whole_range{Iova{0}, Iova{~std::uint64_t{0}}};

}  // namespace

RelayStage::RelayStage() : shadow_(std::array{largest_ring}, whole_range, guest_.memory()) {}

RelayStage::~RelayStage() = default;

bool RelayStage::start(const Terms& terms) {
    terms_ = terms;
    ring_ = SplitRing::find(guest_.memory(), terms.queue);
    require(ring_.has_value() == rings_may_be(terms.queue), "rings were judged wrongly");
    if (!ring_ || terms.queue.size > largest_ring) return false;
    if (terms.iops != 0) {
        const auto group = std::make_shared<datapath::ThrottleGroup>("fuzz");
        datapath::ThrottleLimits limits;
        limits.iops.average = terms.iops;
        group->set_limits(limits, now_);
        throttle_.join(group);
    }
    const auto queue = shadow_.lay_out(0, terms.queue.size);
    device_ = std::make_unique<HostileDevice>(queue, shadow_.region(), terms.indirect);
    ring_->avail_idx().store(terms.base.value());
    ring_->used_idx().store(terms.base.value());
    used_ = terms.base;
    relay_ = std::make_unique<datapath::Relay>(
        datapath::RelaySetup{.memory = guest_.memory(),
                             .guest_ring = *ring_,
                             .base = terms.base,
                             .shadow = queue,
                             .event_idx = terms.event_idx,
                             .indirect = terms.indirect,
                             .personality = terms.block ? &datapath::block_personality : nullptr,
                             .guest_call = guest_call_,
                             .device_kick = device_kick_,
                             .statistics = statistics_,
                             .throttle = &throttle_});
    relay_->take_over();
    return true;
}

bool RelayStage::rings_may_be(const virtio::QueueSetup& queue) const {
    const std::uint64_t size = queue.size;
    if (std::popcount(size) != 1) return false;
    return queue.descriptors.value % 16 == 0 && queue.driver_area.value % 2 == 0 &&
           queue.device_area.value % 4 == 0 &&
           guest_.reach(queue.descriptors, 16 * size) != nullptr &&
           guest_.reach(queue.driver_area, 6 + 2 * size) != nullptr &&
           guest_.reach(queue.device_area, 6 + 8 * size, true) != nullptr;
}

std::optional<std::vector<Buffer>> RelayStage::chain_of_guest(std::uint16_t head) const {
    const std::uint16_t size = ring_->size();
    return walk_chain({.ring_size = size,
                       .table = terms_.queue.descriptors,
                       .indirect = terms_.indirect,
                       .longest = terms_.indirect ? longest_table : size,
                       .read = [this](Iova address, std::uint64_t length) -> const std::byte* {
                           return guest_.reach(address, length);
                       }},
                      head);
}

bool RelayStage::in_memory(const std::vector<Buffer>& buffers) const {
    return std::ranges::all_of(buffers, [this](const Buffer& buffer) {
        return buffer.length == 0 ||
               guest_.reach(buffer.address, buffer.length, buffer.writable) != nullptr;
    });
}

void RelayStage::forward() {
    const RingIndex before = relay_->next_avail();
    const bool faulty = relay_->guest_fault() || relay_->device_fault();
    const bool idle = relay_->in_flight() == 0 && held_.empty();
    const std::uint16_t available = RingIndex(ring_->avail_idx().load()) - before;
    (void)relay_->forward(now_);
    note_taken(before);
    if (faulty || paused_) {
        require(relay_->next_avail() == before, "a chain was taken that should have been left");
    } else if (relay_->guest_fault()) {
        require_refused_rightly();
    } else {
        require(available <= ring_->size(), "an avail index that jumped was believed");
        require(available == 0 || !idle || relay_->next_avail() != before,
                "nothing was taken though there was room");
    }
    look_at_device();
}

void RelayStage::note_taken(RingIndex before) {
    for (RingIndex at = before; at != relay_->next_avail(); ++at) {
        const std::uint16_t head = ring_->avail_entry(at).load();
        auto buffers = chain_of_guest(head);
        require(buffers.has_value(), "a chain was taken that is none");
        require(in_memory(*buffers), "a buffer outside of guest memory was accepted");
        held_.push_back({head, at, std::move(*buffers)});
    }
}

void RelayStage::require_refused_rightly() const {
    if (relay_->guest_fault() == RingFault::avail_index_jumped) {
        const std::uint16_t ahead = RingIndex(ring_->avail_idx().load()) - relay_->next_avail();
        return require(ahead > ring_->size(), "an avail index that did not jump was refused");
    }
    const auto buffers = chain_of_guest(ring_->avail_entry(relay_->next_avail()).load());
    require(!buffers || !in_memory(*buffers), "a chain with nothing wrong was refused");
}

void RelayStage::look_at_device() {
    const RingIndex before = device_->seen();
    const std::uint16_t given = device_->look(held_);
    require(terms_.iops != 0 || held_.empty(), "a chain was taken and not given to the device");
    const bool kicked = device_kick_.take();
    const bool wanted = given != 0 && device_->wants_kick(before, terms_.event_idx);
    require(kicked == wanted, wanted ? "a kick is lost" : "a kick was sent that nobody wanted");
    require(relay_->in_flight() == device_->outstanding().size(),
            "chains in flight are miscounted");
}

void RelayStage::complete() {
    const RingIndex before = used_;
    const auto fault_before = relay_->device_fault();
    HostileDevice::Verdict verdict;
    if (!fault_before) verdict = device_->judge_used();
    (void)relay_->complete(now_);
    require(relay_->device_fault() == (fault_before ? fault_before : verdict.fault),
            "the device was judged wrongly");
    for (const virtio::UsedElement& expected : verdict.used) {
        const virtio::UsedElement element = ring_->used_entry(used_);
        require(element.id == expected.id, "the guest was handed back another chain");
        require(element.length == expected.length, "the guest was told a wrong length");
        ++used_;
    }
    const bool any = !verdict.used.empty();
    require(!any || RingIndex(ring_->used_idx().load()) == used_,
            "the guest was handed back more or less than the device used");
    const bool wanted = any && interrupt_wanted(before);
    require(guest_call_.take() == wanted,
            wanted ? "an interrupt is lost" : "an interrupt was sent that nobody wanted");
    require(relay_->in_flight() == device_->outstanding().size(),
            "chains in flight are miscounted");
}

bool RelayStage::interrupt_wanted(RingIndex before) const {
    if (!terms_.event_idx) return (ring_->avail_flags().load() & 1U) == 0;
    const RingIndex event(ring_->used_event().load());
    for (RingIndex at = before; at != used_; ++at) {
        if (at == event) return true;
    }
    return false;
}

void RelayStage::run() {
    // Each turn takes or completes something, or was brought about by the relay's own writes to
    // rings that overlap.
    for (unsigned turns = 0; turns < 4U * largest_ring; ++turns) {
        complete();
        forward();
        if (relay_->prepare_to_sleep()) continue;
        require_woken_when_needed();
        require_rewound_rightly();
        return relay_->woken();
    }
    throw Violation("the relay does not come to rest");
}

void RelayStage::require_woken_when_needed() const {
    if (relay_->device_fault()) return;
    require(device_->will_call(terms_.event_idx), "the relay sleeps and asked for no call");
    require(paused_ || held_.empty() || relay_->next_try().has_value(),
            "the relay sleeps and nothing will wake it for what a limit holds");
    // What waits for room is woken by the device.
    const bool idle = relay_->in_flight() == 0 && held_.empty();
    if (relay_->guest_fault() || paused_ || !idle) return;
    const RingIndex next = relay_->next_avail();
    require(RingIndex(ring_->avail_idx().load()) == next, "the relay sleeps and there are chains");
    require(terms_.event_idx ? RingIndex(ring_->avail_event().load()) == next
                             : ring_->used_flags().load() == 0,
            "the relay sleeps and asked for no kick");
}

void RelayStage::require_rewound_rightly() const {
    if (!held_.empty()) return;
    const auto& outstanding = device_->outstanding();
    const auto base =
        RingIndex(static_cast<std::uint16_t>(relay_->next_avail().value() - outstanding.size()));
    bool the_last_ones = true;
    for (RingIndex at = base; at != relay_->next_avail(); ++at) {
        the_last_ones = the_last_ones && std::ranges::any_of(outstanding, [at](const Given& given) {
                            return given.taken.at == at;
                        });
    }
    require(relay_->rewound() == (the_last_ones ? std::optional(base) : std::nullopt),
            "another would go on in the wrong place");
}

void RelayStage::pause() {
    relay_->pause();
    paused_ = true;
}

void RelayStage::go_on() {
    relay_->go_on();
    paused_ = false;
}

void RelayStage::forward_held() {
    pause();
    relay_->forward_held(now_);
    look_at_device();
    require(held_.empty(), "a chain that was held is lost");
}

void RelayStage::discard_held() {
    pause();
    relay_->discard_held();
    held_.clear();
    look_at_device();
}

void RelayStage::require_consistent() const {
    if (device_) device_->require_unchanged();
}

}  // namespace viaduct::fuzz
