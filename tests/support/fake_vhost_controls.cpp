// What a test does to the fake node, and asks of it.
#include <poll.h>

#include <algorithm>
#include <chrono>

#include "devices/virtio/spec.hpp"
#include "tests/support/fake_vhost_node.hpp"

namespace viaduct::test {

FakeVhostNode::Log FakeVhostNode::log() const {
    const std::lock_guard lock(mutex_);
    return log_;
}

FakeVhostNode::Log FakeVhostNode::log_of(const std::string& prefix) const {
    Log all = log();
    std::erase_if(all, [&](const std::string& line) { return !line.starts_with(prefix); });
    return all;
}

void FakeVhostNode::clear_log() {
    const std::lock_guard lock(mutex_);
    log_.clear();
}

void FakeVhostNode::note(const std::string& event) {
    const std::lock_guard lock(mutex_);
    log_.push_back(event);
}

void FakeVhostNode::fail_next(const std::string& name, int error) {
    const std::lock_guard lock(mutex_);
    failures_[name] = error;
}

void FakeVhostNode::refuse_features_ok() {
    const std::lock_guard lock(mutex_);
    refuses_features_ok_ = true;
}

unsigned FakeVhostNode::complete(unsigned queue) {
    const std::lock_guard lock(mutex_);
    FakeVdpaParent::Queue& ring = parent_.queues.at(queue);
    const unsigned count = parent_.use_available(ring);
    if (count != 0) (void)parent_.interrupt(ring);
    return count;
}

void FakeVhostNode::use_last_first(unsigned queue) {
    const std::lock_guard lock(mutex_);
    FakeVdpaParent::Queue& ring = parent_.queues.at(queue);
    parent_.use_last_first(ring);
    (void)parent_.interrupt(ring);
}

void FakeVhostNode::take_into_hand(unsigned queue, std::uint16_t count) {
    const std::lock_guard lock(mutex_);
    std::uint16_t& base = parent_.queues.at(queue).base;
    base = static_cast<std::uint16_t>(base + count);
}

void FakeVhostNode::forget_kicks() {
    const std::lock_guard lock(mutex_);
    parent_.forget_kicks();
}

void FakeVhostNode::serve() {
    service_ = std::jthread([this](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            {
                const std::lock_guard lock(mutex_);
                parent_.serve_kicks();
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
}

void FakeVhostNode::stop_serving() {
    service_ = {};
}

bool FakeVhostNode::interrupt(unsigned queue) {
    const std::lock_guard lock(mutex_);
    return parent_.interrupt(parent_.queues.at(queue));
}

bool FakeVhostNode::change_config(std::uint32_t offset, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    std::copy(bytes.begin(), bytes.end(), answers.config.begin() + offset);
    return parent_.interrupt_config();
}

bool FakeVhostNode::demand_reset() {
    const std::lock_guard lock(mutex_);
    status_ |= virtio::status::needs_reset;
    return parent_.interrupt_config();
}

bool FakeVhostNode::is_open() const {
    const std::lock_guard lock(mutex_);
    return is_open_;
}

std::uint8_t FakeVhostNode::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

std::uint64_t FakeVhostNode::accepted_features() const {
    const std::lock_guard lock(mutex_);
    return accepted_features_;
}

bool FakeVhostNode::suspended() const {
    const std::lock_guard lock(mutex_);
    return parent_.suspended;
}

bool FakeVhostNode::kicked(unsigned queue) const {
    const std::lock_guard lock(mutex_);
    pollfd poll{parent_.queues.at(queue).kick.get(), POLLIN, 0};
    return ::poll(&poll, 1, 0) == 1;
}

bool FakeVhostNode::reaches(std::uint64_t iova, std::uint64_t length) const {
    const std::lock_guard lock(mutex_);
    return parent_.reaches(iova, length);
}

unsigned FakeVhostNode::resets_in_flight() const {
    const std::lock_guard lock(mutex_);
    return resets_in_flight_;
}

FakeVhostNode::ConfigWrites FakeVhostNode::config_writes() const {
    const std::lock_guard lock(mutex_);
    return config_writes_;
}

std::span<std::byte> FakeVhostNode::doorbell(unsigned queue) const {
    const std::lock_guard lock(mutex_);
    return doorbells_.at(queue).bytes();
}

}  // namespace viaduct::test
