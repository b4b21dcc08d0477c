// Many requests in flight on several queues, driven by one CPU as a good driver does: it notifies
// when it is asked to, holds interrupts back while it works, and looks at a queue only when the
// queue's interrupt has come. So a completion that is lost, doubled or not told ends the run.
#include <atomic>

#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/completion_gaps.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Device;
using block::RequestType;
using block::Status;
using virtio::Segment;

constexpr size_t pieces = 3;  // of a request: header, sector, status

struct Plan {
    uint16_t queues;
    uint16_t depth;
    uint64_t count;  // completions; 0: for ever
    uint64_t drain;  // completions after which all is brought to rest; 0: at the end only
    bool is_writing;
    bool is_checking;  // what the sectors hold
    Microseconds patience;
};

struct Totals {
    uint64_t quota;  // that `submitted` may reach
    uint64_t submitted;
    uint64_t completed;
    uint64_t kicks;
    uint64_t idle_interrupts;  // that told of nothing new
    CompletionGaps gaps;
};

// A sector and the one request that is in flight for it.
struct Place {
    block::RequestHeader header;
    virtio::Descriptor table[pieces];
    uint8_t* buffer;
    uint32_t round;  // of the contents
    Status status;
};

class Stream {
public:
    Stream(Device& device, uint16_t index, const Plan& plan, Totals& totals);

    void fill();
    // Whether the queue's interrupt has come, or work was left over.
    bool is_due() const { return !is_armed_ || interrupts::count(vector_) != interrupts_seen_; }
    void serve();
    void check_progress() const;
    void check_idle() const;
    uint32_t interrupts() const { return interrupts::count(vector_); }

private:
    void submit(Place& place, RequestType type);
    void complete(const virtio::UsedElement& element);
    void go_on(Place& place);
    void kick();
    void hold_interrupts() const;
    bool arm();

    const Plan& plan_;
    Totals& totals_;
    block::Queue& queue_;
    uint8_t vector_;
    bool has_event_idx_;
    bool has_indirect_;
    bool is_armed_ = false;
    uint32_t interrupts_seen_ = 0;
    uint16_t in_flight_ = 0;
    Stopwatch since_progress_;
    Place* places_;
    Place** place_of_head_;  // null: not in flight
};

Stream::Stream(Device& device, uint16_t index, const Plan& plan, Totals& totals)
    : plan_{plan},
      totals_{totals},
      queue_{device.queue(index)},
      vector_{device.vector(index)},
      has_event_idx_{device.has(virtio::feature::event_idx)},
      has_indirect_{device.has(virtio::feature::indirect_desc)},
      places_{allocate_array<Place>(plan.depth)},
      place_of_head_{allocate_array<Place*>(queue_.ring.size())} {
    const size_t descriptors = plan.depth * (has_indirect_ ? 1 : pieces);
    CHECK(descriptors <= queue_.ring.size(), "depth ", plan.depth, " of ", queue_.ring.size());
    auto* buffers = static_cast<uint8_t*>(allocate(plan.depth * size_t{block::sector_size}));
    for (uint16_t i = 0; i < plan.depth; ++i) {
        places_[i].header.sector = uint64_t{index} * plan.depth + i;
        places_[i].buffer = buffers + i * size_t{block::sector_size};
    }
}

void Stream::fill() {
    since_progress_ = {};
    for (uint16_t i = 0; i < plan_.depth; ++i) submit(places_[i], RequestType::write);
    kick();
    is_armed_ = arm();
}

void Stream::submit(Place& place, RequestType type) {
    if (totals_.submitted == totals_.quota) return;
    ++totals_.submitted;
    ++in_flight_;
    const bool is_read = type == RequestType::read;
    if (is_read && plan_.is_checking) {
        pattern::fill_with(place.buffer, block::sector_size, 0x5a5a5a5a5a5a5a5a);
    } else if (plan_.is_checking) {
        pattern::fill(place.buffer, place.header.sector, block::sector_size, place.round);
    }
    place.header.type = type;
    place.status = Status::untouched;
    const Segment segments[pieces] = {{address_of(&place.header), sizeof place.header, false},
                                      {address_of(place.buffer), block::sector_size, is_read},
                                      {address_of(&place.status), 1, true}};
    const uint16_t head = has_indirect_ ? queue_.ring.add_indirect(place.table, segments, pieces)
                                        : queue_.ring.add_chain(segments, pieces);
    place_of_head_[head] = &place;
    queue_.ring.publish(head);
}

void Stream::kick() {
    if (!queue_.ring.needs_notification()) return;
    queue_.kick_always();
    ++totals_.kicks;
}

// With EVENT_IDX used_event simply stays behind.
void Stream::hold_interrupts() const {
    if (!has_event_idx_) queue_.ring.set_no_interrupt(true);
}

// Asks for an interrupt; false: one will not come, for something was completed meanwhile.
bool Stream::arm() {
    if (has_event_idx_) {
        queue_.ring.set_used_event(queue_.ring.next_used());
    } else {
        queue_.ring.set_no_interrupt(false);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return !queue_.ring.has_used();
}

void Stream::serve() {
    interrupts_seen_ = interrupts::count(vector_);
    hold_interrupts();
    if (is_armed_ && !queue_.ring.has_used()) ++totals_.idle_interrupts;
    // No more than this at once: the other queues want to be served too.
    for (uint16_t i = 0; i < plan_.depth && queue_.ring.has_used(); ++i) {
        complete(queue_.ring.take_used());
    }
    kick();
    is_armed_ = arm();
}

void Stream::complete(const virtio::UsedElement& element) {
    CHECK(element.id < queue_.ring.size(), "used id ", element.id);
    const auto head = static_cast<uint16_t>(element.id);
    Place* place = place_of_head_[head];
    CHECK(place != nullptr, "queue ", queue_.index(), ": head ", head, " is not in flight, after ",
          totals_.completed, " completions");
    place_of_head_[head] = nullptr;
    queue_.ring.release_chain(head);
    CHECK_EQUAL(place->status, Status::ok);
    const bool is_read = place->header.type == RequestType::read;
    CHECK_EQUAL(element.length, is_read ? block::sector_size + 1 : 1U);
    --in_flight_;
    ++totals_.completed;
    totals_.gaps.count_completion();
    since_progress_ = {};
    go_on(*place);
}

void Stream::go_on(Place& place) {
    const bool is_read = place.header.type == RequestType::read;
    if (is_read && plan_.is_checking) {
        pattern::check(place.buffer, place.header.sector, block::sector_size, place.round);
    }
    const bool writes_next = is_read && plan_.is_writing;
    if (writes_next) ++place.round;
    submit(place, writes_next ? RequestType::write : RequestType::read);
}

void Stream::check_progress() const {
    if (in_flight_ == 0 || since_progress_.elapsed().count < plan_.patience.count) return;
    CHECK(!queue_.ring.has_used(), "queue ", queue_.index(), ": completed, but no interrupt came");
    FAIL("queue ", queue_.index(), ": no completion in time, available index ",
         queue_.ring.available_index(), ", used index ", queue_.ring.used_index(), ", in flight ",
         in_flight_);
}

void Stream::check_idle() const {
    CHECK(!queue_.ring.has_used(), "queue ", queue_.index(), ": completed once too often");
    CHECK_EQUAL(in_flight_, 0);
}

class AllStreams {
public:
    explicit AllStreams(const Plan& plan) : plan_{plan} {}

    void tell_gaps() {
        totals_.gaps.listen();
        tells_gaps_ = true;
    }

    void add_queues(Device& device) {
        for (uint16_t i = 0; i < plan_.queues; ++i) {
            CHECK(count_ < most_streams, count_);
            streams_[count_++] = &create<Stream>(device, i, plan_, totals_);
        }
    }

    void run(uint64_t tick) {
        uint64_t drains = 0;
        while (totals_.completed < total()) {
            const uint64_t left = total() - totals_.completed;
            const bool drains_before = plan_.drain != 0 && plan_.drain < left;
            totals_.quota += drains_before ? plan_.drain : left;
            for (uint16_t i = 0; i < count_; ++i) streams_[i]->fill();
            run_to_quota(tick);
            // One request that got lost does not show while the others go on.
            for (uint16_t i = 0; i < count_; ++i) streams_[i]->check_idle();
            if (drains_before) print("drained ", ++drains, "\n");
        }
    }

    void end() {
        settle(5_ms);
        uint64_t interrupts = 0;
        for (uint16_t i = 0; i < count_; ++i) {
            streams_[i]->check_idle();
            interrupts += streams_[i]->interrupts();
        }
        print("deep-io completions=", totals_.completed, " kicks=", totals_.kicks,
              " interrupts=", interrupts, " idle-interrupts=", totals_.idle_interrupts, "\n");
    }

private:
    uint64_t total() const { return plan_.count == 0 ? ~uint64_t{0} : plan_.count; }

    void run_to_quota(uint64_t tick) {
        while (totals_.completed < totals_.quota) {
            for (uint16_t i = 0; i < count_; ++i) {
                if (streams_[i]->is_due()) streams_[i]->serve();
            }
            // Interrupts are taken here only: also while one queue always has more to do.
            const bool waits = !is_any_due() && totals_.completed < totals_.quota;
            halt_at_most(waits ? plan_.patience : 1_us);
            for (uint16_t i = 0; i < count_; ++i) streams_[i]->check_progress();
            if (tells_gaps_) totals_.gaps.answer();
            while (ticks_ < totals_.completed / tick) print("tick ", ++ticks_, "\n");
        }
    }

    static constexpr uint16_t most_streams = 64;

    bool is_any_due() const {
        for (uint16_t i = 0; i < count_; ++i) {
            if (streams_[i]->is_due()) return true;
        }
        return false;
    }

    const Plan plan_;
    Totals totals_{};
    bool tells_gaps_ = false;
    uint64_t ticks_ = 0;
    uint16_t count_ = 0;
    Stream* streams_[most_streams]{};
};

uint64_t chosen_features() {
    uint64_t features = block::feature::multi_queue;
    if (option_switch("event-idx")) features |= virtio::feature::event_idx;
    if (option_switch("indirect")) features |= virtio::feature::indirect_desc;
    return features;
}

Device& start_device(uint64_t number, const Plan& plan) {
    auto& device = create<Device>(virtio::choose_function(number));
    device.start({.wanted_features = chosen_features(),
                  .queue_count = plan.queues,
                  .completion = block::Completion::msix});
    CHECK(!option_switch("event-idx") || device.has(virtio::feature::event_idx));
    CHECK(!option_switch("indirect") || device.has(virtio::feature::indirect_desc));
    CHECK(uint64_t{plan.queues} * plan.depth <= device.capacity(), device.capacity());
    return device;
}

void run_deep_io() {
    const Plan plan{.queues = static_cast<uint16_t>(option_number("queues", 1)),
                    .depth = static_cast<uint16_t>(option_number("depth", 32)),
                    .count = option_number("count", 0),
                    .drain = option_number("drain", 0),
                    .is_writing = option_switch("write"),
                    .is_checking = option_switch("check", true),
                    .patience = {option_number("timeout", 10) * 1'000'000}};
    const uint64_t tick = option_number("tick", 1000);
    CHECK(plan.queues != 0 && plan.depth != 0 && tick != 0);
    auto& streams = create<AllStreams>(plan);
    if (option_switch("gaps")) streams.tell_gaps();
    for (uint64_t i = 0; i < option_number("devices", 1); ++i) {
        streams.add_queues(start_device(i, plan));
    }
    streams.run(tick);
    streams.end();
}

constexpr Scenario scenarios[] = {
    {"deep-io", run_deep_io},
};

}  // namespace

constexpr ScenarioList deep_io_scenarios{scenarios};

}  // namespace probe
