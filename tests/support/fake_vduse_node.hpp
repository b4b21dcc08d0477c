/// The kernel's side of a VDUSE device, for tests of the daemon's: messages that wait to be served,
/// the driver's memory and rings, interrupts that go to an eventfd. Its rules are those seen in
/// the lab (tests/lab/export_test.cpp serves the real one).
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "vdpa/export/vduse_node.hpp"

namespace viaduct::test {

class FakeVduseNode final : public vduse::Node {
public:
    struct Piece {
        int file = -1;
        std::uint64_t offset = 0;
        std::uint64_t first = 0;
        std::uint64_t last = 0;
        bool writable = true;
    };

    // What the test sets up.
    std::vector<Piece> pieces;  // sorted
    std::map<unsigned, vduse::QueueInfo> queues;
    std::map<unsigned, const EventFd*> calls;
    std::uint64_t accepted = 0;

    // What the daemon did.
    std::vector<vduse_dev_response> responses;
    std::map<unsigned, const EventFd*> kicks;  // null: taken away
    std::vector<std::byte> config_written;
    unsigned config_interrupts = 0;

    /// Waits for serve().
    void send(const vduse_dev_request& request) { messages_.push_back(request); }
    void send_status(std::uint8_t status) {
        vduse_dev_request request = next_of(VDUSE_SET_STATUS);
        request.s.status = status;
        send(request);
    }
    void send_type(std::uint32_t type) { send(next_of(type)); }
    void ask_for_state(std::uint32_t queue) {
        vduse_dev_request request = next_of(VDUSE_GET_VQ_STATE);
        request.vq_state.index = queue;
        send(request);
    }
    [[nodiscard]] std::uint32_t last_id() const { return last_id_; }

    // vduse::Node
    [[nodiscard]] int fd() const noexcept override { return -1; }
    std::optional<vduse_dev_request> receive() override {
        if (messages_.empty()) return std::nullopt;
        const auto message = messages_.front();
        messages_.pop_front();
        return message;
    }
    void respond(const vduse_dev_response& response) override { responses.push_back(response); }
    void set_up_queue(unsigned /*queue*/, std::uint16_t /*max_size*/) override {}
    std::uint64_t features() override { return accepted; }
    vduse::QueueInfo queue_info(unsigned queue) override { return queues[queue]; }
    std::optional<vduse::IotlbEntry> iotlb_entry(std::uint64_t from, std::uint64_t to) override;
    void set_kick(unsigned queue, const EventFd* kick) override { kicks[queue] = kick; }
    void interrupt(unsigned queue) noexcept override {
        if (const auto call = calls.find(queue); call != calls.end()) call->second->signal();
    }
    void write_config(std::uint32_t /*offset*/, std::span<const std::byte> bytes) override {
        config_written.assign(bytes.begin(), bytes.end());
    }
    void interrupt_config() override { ++config_interrupts; }

private:
    vduse_dev_request next_of(std::uint32_t type) {
        vduse_dev_request request{};
        request.type = type;
        request.request_id = ++last_id_;
        return request;
    }

    std::deque<vduse_dev_request> messages_;
    std::uint32_t last_id_ = 0;
};

}  // namespace viaduct::test
