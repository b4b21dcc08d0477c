/// A vDPA device that fails where a test wants it to: passes every operation on to a real one,
/// after asking the test.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "devices/virtio/spec.hpp"
#include "vdpa/device.hpp"

namespace viaduct::test {

class FaultyDevice final : public vdpa::Device {
public:
    /// Called with the operation's name before it is carried out; may throw, or take its time.
    using Before = std::function<void(const std::string& operation)>;
    struct Abilities {
        bool suspend = true;
        bool ring_state = true;
        bool keeps_map = true;                       // over a reset
        std::uint64_t features = ~std::uint64_t{0};  // of those that the real one has
        /// Asked each time that FEATURES_OK is read back.
        std::function<bool()> refuses_features_ok{};
    };

    FaultyDevice(std::unique_ptr<vdpa::Device> real, Abilities abilities, const Before& before)
        : real_(std::move(real)), abilities_(std::move(abilities)), before_(before) {}
    FaultyDevice(const FaultyDevice&) = delete;
    FaultyDevice& operator=(const FaultyDevice&) = delete;
    ~FaultyDevice() override { before_("close"); }

    [[nodiscard]] const std::string& name() const override { return real_->name(); }
    std::uint32_t device_id() override { return real_->device_id(); }
    std::uint64_t features() override { return real_->features() & abilities_.features; }
    unsigned queue_count() override { return real_->queue_count(); }
    std::uint16_t max_queue_size(unsigned queue) override { return real_->max_queue_size(queue); }
    std::uint32_t config_size() override { return real_->config_size(); }
    vdpa::IovaRange iova_range() override { return real_->iova_range(); }
    bool supports_suspend() override { return abilities_.suspend; }
    bool supports_resume() override { return abilities_.suspend; }
    bool supports_ring_state() override { return abilities_.ring_state; }
    bool keeps_map_over_reset() override {
        return abilities_.keeps_map && real_->keeps_map_over_reset();
    }
    void set_features(std::uint64_t features) override {
        before_("set_features");
        real_->set_features(features);
    }
    std::uint8_t status() override {
        before_("status");
        const std::uint8_t status = real_->status();
        constexpr std::uint8_t asked = virtio::status::features_ok | virtio::status::driver_ok;
        const bool refused = (status & asked) == virtio::status::features_ok &&
                             abilities_.refuses_features_ok && abilities_.refuses_features_ok();
        return refused ? static_cast<std::uint8_t>(status & ~virtio::status::features_ok) : status;
    }
    void wait_for_answer() override {
        before_("wait_for_answer");
        real_->wait_for_answer();
    }
    void set_status(std::uint8_t status) override {
        before_("set_status");
        real_->set_status(status);
    }
    void reset() override {
        before_("reset");
        real_->reset();
    }
    void read_config(std::uint32_t offset, std::span<std::byte> bytes) override {
        before_("read_config");
        real_->read_config(offset, bytes);
    }
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override {
        before_("write_config");
        real_->write_config(offset, bytes);
    }
    void map(std::span<const MemoryRegion> regions) override {
        before_("map");
        real_->map(regions);
    }
    void unmap(std::span<const MemoryRegion> regions) override {
        before_("unmap");
        real_->unmap(regions);
    }
    void set_queue_size(unsigned queue, std::uint16_t entries) override {
        before_("set_queue_size");
        real_->set_queue_size(queue, entries);
    }
    void set_ring_addresses(unsigned queue, const vdpa::RingAddresses& addresses) override {
        before_("set_ring_addresses");
        real_->set_ring_addresses(queue, addresses);
    }
    void set_ring_state(unsigned queue, const vdpa::RingState& state) override {
        before_("set_ring_state");
        real_->set_ring_state(queue, state);
    }
    vdpa::RingState ring_state(unsigned queue) override {
        before_("ring_state");
        return real_->ring_state(queue);
    }
    void enable_queue(unsigned queue, bool enabled) override {
        before_("enable_queue");
        real_->enable_queue(queue, enabled);
    }
    void set_kick(unsigned queue, const EventFd& kick) override {
        before_("set_kick");
        real_->set_kick(queue, kick);
    }
    void set_call(unsigned queue, const EventFd& call) override {
        before_("set_call");
        real_->set_call(queue, call);
    }
    void set_config_call(const EventFd& call) override {
        before_("set_config_call");
        real_->set_config_call(call);
    }
    std::span<std::byte> doorbell_page(unsigned queue) override {
        return real_->doorbell_page(queue);
    }
    void suspend() override {
        before_("suspend");
        real_->suspend();
    }
    void resume() override {
        before_("resume");
        real_->resume();
    }

private:
    std::unique_ptr<vdpa::Device> real_;
    Abilities abilities_;
    const Before& before_;
};

}  // namespace viaduct::test
