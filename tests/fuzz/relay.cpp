/// The target "relay": carries out a program of relay_program.hpp on a RelayStage.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "tests/fuzz/relay_program.hpp"
#include "tests/fuzz/relay_stage.hpp"
#include "tests/fuzz/targets.hpp"

namespace viaduct::fuzz {
namespace {

using virtio::RingIndex;

/// Enough for any attack, and for a fuzzer that is to try many.
constexpr unsigned most_statements = 1000;
constexpr unsigned most_acts = 8;

class Performance {
public:
    void perform(const Statement& statement);
    void end() const { stage_.require_consistent(); }

private:
    struct Rule {
        std::string_view word;
        void (Performance::*apply)();
    };
    static const std::array<Rule, 7> agreements;
    static const std::array<Rule, 23> deeds;

    [[nodiscard]] static const Rule* find(std::span<const Rule> rules, std::string_view word) {
        const auto rule = std::ranges::find(rules, word, &Rule::word);
        return rule == rules.end() ? nullptr : &*rule;
    }

    /// The statement's number, cut to what is wanted.
    template <typename T = std::uint64_t>
    [[nodiscard]] T number(std::size_t which) const {
        return static_cast<T>(evaluate(statement_.numbers[which],
                                       [this](std::string_view name) { return named(name); }));
    }
    [[nodiscard]] Iova address(std::size_t which) const { return Iova{number(which)}; }
    [[nodiscard]] std::uint64_t named(std::string_view name) const;
    [[nodiscard]] virtio::Descriptor descriptor(std::size_t first) const {
        return {address(first), number<std::uint32_t>(first + 1), number<std::uint16_t>(first + 2),
                number<std::uint16_t>(first + 3)};
    }
    [[nodiscard]] const virtio::SplitRing& ring() const { return stage_.guest_ring(); }

    // What was agreed upon.
    void set_size() { terms_.queue.size = number<std::uint16_t>(0); }
    void set_base() { terms_.base = RingIndex(number<std::uint16_t>(0)); }
    void set_rings() {
        terms_.queue.descriptors = address(0);
        terms_.queue.driver_area = address(1);
        terms_.queue.device_area = address(2);
    }
    void set_event_idx() { terms_.event_idx = true; }
    void set_indirect() { terms_.indirect = true; }
    void set_block() { terms_.block = true; }
    void set_iops() { terms_.iops = number<std::uint16_t>(0); }

    // What the guest does.
    void write_descriptor() {
        stage_.guest().write(terms_.queue.descriptors + 16 * number(0), descriptor(1));
    }
    void write_descriptor_at() { stage_.guest().write(address(0) + 16 * number(1), descriptor(2)); }
    void write() { stage_.guest().write(address(0), number(1), number(2)); }
    void make_available() {
        const RingIndex index(ring().avail_idx().load());
        ring().avail_entry(index).store(number<std::uint16_t>(0));
        ring().avail_idx().store((index + 1).value());
    }
    void write_entry() {
        ring().avail_entry(RingIndex(number<std::uint16_t>(0))).store(number<std::uint16_t>(1));
    }
    void advance() {
        const RingIndex index(ring().avail_idx().load());
        ring().avail_idx().store((index + number<std::uint16_t>(0)).value());
    }
    void set_avail_flags() { ring().avail_flags().store(number<std::uint16_t>(0)); }
    void set_used_flags() { ring().used_flags().store(number<std::uint16_t>(0)); }
    void set_used_index() { ring().used_idx().store(number<std::uint16_t>(0)); }
    void set_used_event() { ring().used_event().store(number<std::uint16_t>(0)); }
    void set_avail_event() { ring().avail_event().store(number<std::uint16_t>(0)); }

    // What the device does.
    void use() { stage_.device().use(number(0), number<std::uint32_t>(1)); }
    void put_element() {
        stage_.device().put_used({number<std::uint32_t>(0), number<std::uint32_t>(1)});
    }
    void jump() { stage_.device().advance_used_index(number<std::uint16_t>(0)); }
    void scribble() { stage_.device().write(number(0), number<std::uint16_t>(1)); }

    // What the relay does.
    void forward() { stage_.forward(); }
    void complete() { stage_.complete(); }
    void run() { stage_.run(); }
    void pause() { stage_.pause(); }
    void go_on() { stage_.go_on(); }
    void forward_held() { stage_.forward_held(); }
    void discard_held() { stage_.discard_held(); }
    void wait() { stage_.wait(std::chrono::milliseconds(number<std::uint16_t>(0))); }

    enum class Act { not_begun, on_stage, over };

    Act act_ = Act::not_begun;
    Statement statement_;
    Terms terms_;
    RelayStage stage_;
};

constexpr std::array<Performance::Rule, 7> Performance::agreements{{
    {"size", &Performance::set_size},
    {"base", &Performance::set_base},
    {"rings", &Performance::set_rings},
    {"event-idx", &Performance::set_event_idx},
    {"indirect", &Performance::set_indirect},
    {"block", &Performance::set_block},
    {"iops", &Performance::set_iops},
}};

constexpr std::array<Performance::Rule, 23> Performance::deeds{{
    {"desc", &Performance::write_descriptor},
    {"desc-at", &Performance::write_descriptor_at},
    {"write", &Performance::write},
    {"avail", &Performance::make_available},
    {"entry", &Performance::write_entry},
    {"advance", &Performance::advance},
    {"avail-flags", &Performance::set_avail_flags},
    {"used-flags", &Performance::set_used_flags},
    {"used-index", &Performance::set_used_index},
    {"used-event", &Performance::set_used_event},
    {"avail-event", &Performance::set_avail_event},
    {"use", &Performance::use},
    {"element", &Performance::put_element},
    {"jump", &Performance::jump},
    {"scribble", &Performance::scribble},
    {"forward", &Performance::forward},
    {"complete", &Performance::complete},
    {"run", &Performance::run},
    {"pause", &Performance::pause},
    {"go-on", &Performance::go_on},
    {"forward-held", &Performance::forward_held},
    {"discard-held", &Performance::discard_held},
    {"wait", &Performance::wait},
}};

std::uint64_t Performance::named(std::string_view name) const {
    const std::array<std::pair<std::string_view, std::uint64_t>, 11> names{{
        {"next", virtio::descriptor_flag::next},
        {"write", virtio::descriptor_flag::write},
        {"indirect", virtio::descriptor_flag::indirect},
        {"ram", HostileGuest::ram.value},
        {"end", HostileGuest::more.value},
        {"rom", HostileGuest::rom.value},
        {"bar", HostileGuest::bar.value},
        {"shadow", stage_.shadow_window().value},
        {"table", terms_.queue.descriptors.value},
        {"avail", terms_.queue.driver_area.value},
        {"used", terms_.queue.device_area.value},
    }};
    for (const auto& [known, value] : names) {
        if (known == name) return value;
    }
    return 0;
}

void Performance::perform(const Statement& statement) {
    statement_ = statement;
    const Rule* agreement = act_ == Act::not_begun ? find(agreements, statement.word) : nullptr;
    if (agreement != nullptr) return (this->*agreement->apply)();
    const Rule* deed = find(deeds, statement.word);
    if (deed == nullptr) return;
    if (act_ == Act::not_begun) act_ = stage_.start(terms_) ? Act::on_stage : Act::over;
    if (act_ == Act::on_stage) (this->*deed->apply)();
}

}  // namespace

void relay(std::string_view bytes) {
    unsigned left = most_statements;
    for (unsigned acts = 0; acts < most_acts; ++acts) {
        Performance performance;
        auto statement = take_statement(bytes);
        for (; statement && statement->word != "again" && left > 0; --left) {
            performance.perform(*statement);
            statement = take_statement(bytes);
        }
        performance.end();
        if (!statement || left == 0) return;
    }
}

}  // namespace viaduct::fuzz
