/// A kernel vDPA device behind /dev/vhost-vdpa-N: the vhost-vdpa UAPI (linux/vhost.h), one function
/// per ioctl, no policy. See vdpa::Device for the contract.
///
/// What the kernel says of the device is read once, right after open() has reset it: sizes of
/// queues, in particular, change meaning once a ring is set up. Errors name the ioctl and the
/// device; the two that an operator can mend (locked memory, IOTLB entries) say how.
#pragma once

#include <linux/vhost_types.h>

#include <memory>
#include <vector>

#include "base/mapping.hpp"
#include "vdpa/device.hpp"
#include "vdpa/vhost/node.hpp"

namespace viaduct::vhost {

class VdpaDevice final : public vdpa::Device {
public:
    /// Becomes the owner (VHOST_SET_OWNER) and agrees on backend features. Throws Error when the
    /// node is no vDPA device, or is one without VIRTIO_F_VERSION_1.
    VdpaDevice(std::string name, std::unique_ptr<Node> node);

    [[nodiscard]] const std::string& name() const override { return name_; }

    std::uint32_t device_id() override { return device_id_; }
    std::uint64_t features() override { return features_; }
    unsigned queue_count() override { return static_cast<unsigned>(queue_sizes_.size()); }
    std::uint16_t max_queue_size(unsigned queue) override { return queue_sizes_.at(queue); }
    std::uint32_t config_size() override { return config_size_; }
    vdpa::IovaRange iova_range() override { return iova_range_; }
    bool supports_suspend() override;
    bool supports_resume() override;
    /// Asked by trying, for want of a backend feature that says it: vp_vdpa answers EOPNOTSUPP.
    bool supports_ring_state() override;
    void wait_for_answer() override;
    bool keeps_map_over_reset() override;

    void set_features(std::uint64_t features) override;
    std::uint8_t status() override;
    void set_status(std::uint8_t status) override;
    void reset() override;

    void read_config(std::uint32_t offset, std::span<std::byte> bytes) override;
    void write_config(std::uint32_t offset, std::span<const std::byte> bytes) override;

    void map(std::span<const MemoryRegion> regions) override;
    void unmap(std::span<const MemoryRegion> regions) override;

    void set_queue_size(unsigned queue, std::uint16_t entries) override;
    void set_ring_addresses(unsigned queue, const vdpa::RingAddresses& addresses) override;
    void set_ring_state(unsigned queue, const vdpa::RingState& state) override;
    vdpa::RingState ring_state(unsigned queue) override;
    void enable_queue(unsigned queue, bool enabled) override;
    void set_kick(unsigned queue, const EventFd& kick) override;
    void set_call(unsigned queue, const EventFd& call) override;
    void set_config_call(const EventFd& call) override;
    std::span<std::byte> doorbell_page(unsigned queue) override;

    void suspend() override;
    void resume() override;

private:
    template <typename T>
    T get(const char* request_name, unsigned long request);
    template <typename T>
    void set(const char* request_name, unsigned long request, T argument);

    [[nodiscard]] bool has_backend_feature(unsigned bit) const noexcept;
    void agree_on_backend_features();
    [[nodiscard]] std::uint16_t ask_max_queue_size(unsigned queue);
    bool send_iotlb_message(const vhost_iotlb_msg& message);
    void change_map(std::span<const MemoryRegion> regions, std::uint8_t type);
    void set_vring(const char* request_name, unsigned long request, unsigned queue,
                   std::uint32_t number);
    void set_vring_file(const char* request_name, unsigned long request, unsigned queue, int fd);
    [[noreturn]] void throw_call_error(const char* request_name) const;
    [[noreturn]] void throw_map_error(std::span<const MemoryRegion> regions) const;

    std::string name_;
    std::unique_ptr<Node> node_;
    std::uint32_t device_id_ = 0;
    std::uint64_t features_ = 0;
    std::uint64_t backend_features_ = 0;
    std::uint32_t config_size_ = 0;
    vdpa::IovaRange iova_range_;
    std::vector<std::uint16_t> queue_sizes_;
    std::vector<Mapping> doorbells_;  // one a queue, empty where there is none
};

}  // namespace viaduct::vhost
