#include "vdpa/vhost/vdpa_device.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "vdpa/vhost/map_error.hpp"
#include "vdpa/vhost/uapi.hpp"

// The ioctl's own name goes into the error.
#define VIADUCT_GET(type, request) get<type>(#request, request)
#define VIADUCT_SET(request, argument) set(#request, request, argument)

namespace viaduct::vhost {

template <typename T>
T VdpaDevice::get(const char* request_name, unsigned long request) {
    T value{};
    if (node_->ioctl(request, &value) < 0) throw_call_error(request_name);
    return value;
}

template <typename T>
void VdpaDevice::set(const char* request_name, unsigned long request, T argument) {
    if (node_->ioctl(request, &argument) < 0) throw_call_error(request_name);
}

VdpaDevice::VdpaDevice(std::string name, std::unique_ptr<Node> node)
    : name_(std::move(name)), node_(std::move(node)) {
    if (node_->ioctl(VHOST_VDPA_GET_DEVICE_ID, &device_id_) < 0) {
        throw Error(
            "{} is not a vDPA device (it does not answer VHOST_VDPA_GET_DEVICE_ID): a node such as "
            "/dev/vhost-vdpa-0 is needed",
            name_);
    }
    features_ = VIADUCT_GET(std::uint64_t, VHOST_GET_FEATURES);
    if ((features_ & virtio::feature::version_1) == 0) {
        throw Error(
            "vDPA device {} lacks VIRTIO_F_VERSION_1 (its features are {:#x}): legacy "
            "devices are not supported",
            name_, features_);
    }
    if (node_->ioctl(VHOST_SET_OWNER, nullptr) < 0) throw_call_error("VHOST_SET_OWNER");
    agree_on_backend_features();
    config_size_ = VIADUCT_GET(std::uint32_t, VHOST_VDPA_GET_CONFIG_SIZE);
    const auto range = VIADUCT_GET(vhost_vdpa_iova_range, VHOST_VDPA_GET_IOVA_RANGE);
    iova_range_ = {Iova{range.first}, Iova{range.last}};
    const auto count = VIADUCT_GET(std::uint32_t, VHOST_VDPA_GET_VQS_COUNT);
    for (unsigned queue = 0; queue < count; ++queue) {
        queue_sizes_.push_back(ask_max_queue_size(queue));
        doorbells_.push_back(node_->map_doorbell(queue));
    }
}

void VdpaDevice::agree_on_backend_features() {
    constexpr std::uint64_t known =
        (1U << VHOST_BACKEND_F_IOTLB_MSG_V2) | (1U << VHOST_BACKEND_F_IOTLB_BATCH) |
        (1U << VHOST_BACKEND_F_SUSPEND) | (1U << VHOST_BACKEND_F_RESUME) |
        (1U << VHOST_BACKEND_F_IOTLB_PERSIST);
    backend_features_ = VIADUCT_GET(std::uint64_t, VHOST_GET_BACKEND_FEATURES) & known;
    if (!has_backend_feature(VHOST_BACKEND_F_IOTLB_MSG_V2)) {
        throw Error(
            "vDPA device {} takes no IOTLB messages of version 2: Linux 5.8 or newer is "
            "needed",
            name_);
    }
    VIADUCT_SET(VHOST_SET_BACKEND_FEATURES, backend_features_);
}

std::uint16_t VdpaDevice::ask_max_queue_size(unsigned queue) {
    vhost_vring_state state{queue, 0};
    // Newer kernels know a size per queue, where the parent does; else one holds for all.
    if (node_->ioctl(VHOST_VDPA_GET_VRING_SIZE, &state) >= 0 && state.num != 0) {
        return static_cast<std::uint16_t>(std::min(state.num, 0x8000U));
    }
    return VIADUCT_GET(std::uint16_t, VHOST_VDPA_GET_VRING_NUM);
}

bool VdpaDevice::has_backend_feature(unsigned bit) const noexcept {
    return (backend_features_ >> bit & 1) != 0;
}

bool VdpaDevice::supports_suspend() {
    return has_backend_feature(VHOST_BACKEND_F_SUSPEND);
}
bool VdpaDevice::supports_resume() {
    return has_backend_feature(VHOST_BACKEND_F_RESUME);
}
bool VdpaDevice::supports_ring_state() {
    vhost_vring_state state{0, 1};
    const bool supported = node_->ioctl(VHOST_SET_VRING_BASE, &state) == 0;
    // Where not even this is taken, it is before FEATURES_OK only.
    state.num = 0;
    (void)node_->ioctl(VHOST_SET_VRING_BASE, &state);
    return supported;
}

void VdpaDevice::wait_for_answer() {
    // Taken at any time, and VDUSE passes it on. What it says does not matter, nor does a refusal:
    // both are answers.
    vhost_vring_state state{0, 0};
    if (node_->ioctl(VHOST_GET_VRING_BASE, &state) < 0 && errno == EIO) {
        throw_call_error("VHOST_GET_VRING_BASE");
    }
}

bool VdpaDevice::keeps_map_over_reset() {
    return has_backend_feature(VHOST_BACKEND_F_IOTLB_PERSIST);
}

void VdpaDevice::set_features(std::uint64_t features) {
    VIADUCT_SET(VHOST_SET_FEATURES, features);
}

std::uint8_t VdpaDevice::status() {
    return VIADUCT_GET(std::uint8_t, VHOST_VDPA_GET_STATUS);
}

void VdpaDevice::set_status(std::uint8_t status) {
    VIADUCT_SET(VHOST_VDPA_SET_STATUS, status);
}

void VdpaDevice::reset() {
    set_status(0);
}

void VdpaDevice::read_config(std::uint32_t offset, std::span<std::byte> bytes) {
    // The header and the bytes it announces, as the kernel wants them: one piece.
    std::vector<std::byte> request(sizeof(vhost_vdpa_config) + bytes.size());
    const vhost_vdpa_config header{offset, static_cast<std::uint32_t>(bytes.size())};
    std::memcpy(request.data(), &header, sizeof header);
    if (node_->ioctl(VHOST_VDPA_GET_CONFIG, request.data()) < 0) {
        throw_call_error("VHOST_VDPA_GET_CONFIG");
    }
    std::memcpy(bytes.data(), request.data() + sizeof header, bytes.size());
}

void VdpaDevice::write_config(std::uint32_t offset, std::span<const std::byte> bytes) {
    std::vector<std::byte> request(sizeof(vhost_vdpa_config) + bytes.size());
    const vhost_vdpa_config header{offset, static_cast<std::uint32_t>(bytes.size())};
    std::memcpy(request.data(), &header, sizeof header);
    std::memcpy(request.data() + sizeof header, bytes.data(), bytes.size());
    if (node_->ioctl(VHOST_VDPA_SET_CONFIG, request.data()) < 0) {
        throw_call_error("VHOST_VDPA_SET_CONFIG");
    }
}

bool VdpaDevice::send_iotlb_message(const vhost_iotlb_msg& iotlb) {
    vhost_msg_v2 message{};
    message.type = VHOST_IOTLB_MSG_V2;
    message.iotlb = iotlb;
    return node_->write(std::as_bytes(std::span(&message, 1)));
}

void VdpaDevice::change_map(std::span<const MemoryRegion> regions, std::uint8_t type) {
    const bool batch = has_backend_feature(VHOST_BACKEND_F_IOTLB_BATCH);
    vhost_iotlb_msg message{};
    message.type = VHOST_IOTLB_BATCH_BEGIN;
    if (batch && !send_iotlb_message(message)) throw_call_error("IOTLB batch begin");
    for (const MemoryRegion& region : regions) {
        message.type = type;
        message.iova = region.iova.value;
        message.size = region.bytes.size();
        message.uaddr = reinterpret_cast<std::uintptr_t>(region.bytes.data());
        message.perm = region.writable ? VHOST_ACCESS_RW : VHOST_ACCESS_RO;
        if (send_iotlb_message(message)) continue;
        if (type == VHOST_IOTLB_UPDATE) throw_map_error(regions);
        throw_call_error("IOTLB invalidate");
    }
    message = {};
    message.type = VHOST_IOTLB_BATCH_END;
    if (batch && !send_iotlb_message(message)) throw_call_error("IOTLB batch end");
}

void VdpaDevice::map(std::span<const MemoryRegion> regions) {
    for (const MemoryRegion& region : regions) {
        refuse_private_memory(name_, region);
        if (region.iova < iova_range_.first || region.end() - 1 > iova_range_.last.value) {
            throw Error(
                "vDPA device {} reaches addresses {:#x} to {:#x} only, but guest memory goes to "
                "{:#x}: give the guest less memory",
                name_, iova_range_.first.value, iova_range_.last.value, region.end() - 1);
        }
    }
    change_map(regions, VHOST_IOTLB_UPDATE);
}

void VdpaDevice::unmap(std::span<const MemoryRegion> regions) {
    change_map(regions, VHOST_IOTLB_INVALIDATE);
}

void VdpaDevice::set_vring(const char* request_name, unsigned long request, unsigned queue,
                           std::uint32_t number) {
    set(request_name, request, vhost_vring_state{queue, number});
}

void VdpaDevice::set_vring_file(const char* request_name, unsigned long request, unsigned queue,
                                int fd) {
    set(request_name, request, vhost_vring_file{queue, fd});
}

void VdpaDevice::set_queue_size(unsigned queue, std::uint16_t entries) {
    set_vring("VHOST_SET_VRING_NUM", VHOST_SET_VRING_NUM, queue, entries);
}

void VdpaDevice::set_ring_addresses(unsigned queue, const vdpa::RingAddresses& addresses) {
    vhost_vring_addr request{};
    request.index = queue;
    // "user" by name only: for vhost-vdpa these are I/O virtual addresses.
    request.desc_user_addr = addresses.descriptors.value;
    request.avail_user_addr = addresses.avail.value;
    request.used_user_addr = addresses.used.value;
    VIADUCT_SET(VHOST_SET_VRING_ADDR, request);
}

void VdpaDevice::set_ring_state(unsigned queue, const vdpa::RingState& state) {
    set_vring("VHOST_SET_VRING_BASE", VHOST_SET_VRING_BASE, queue,
              std::get<vdpa::SplitRingState>(state).avail_index);
}

vdpa::RingState VdpaDevice::ring_state(unsigned queue) {
    vhost_vring_state state{queue, 0};
    if (node_->ioctl(VHOST_GET_VRING_BASE, &state) < 0) throw_call_error("VHOST_GET_VRING_BASE");
    return vdpa::SplitRingState{static_cast<std::uint16_t>(state.num)};
}

void VdpaDevice::enable_queue(unsigned queue, bool enabled) {
    set_vring("VHOST_VDPA_SET_VRING_ENABLE", VHOST_VDPA_SET_VRING_ENABLE, queue, enabled ? 1 : 0);
}

void VdpaDevice::set_kick(unsigned queue, const EventFd& kick) {
    set_vring_file("VHOST_SET_VRING_KICK", VHOST_SET_VRING_KICK, queue, kick.fd());
}

void VdpaDevice::set_call(unsigned queue, const EventFd& call) {
    set_vring_file("VHOST_SET_VRING_CALL", VHOST_SET_VRING_CALL, queue, call.fd());
}

void VdpaDevice::set_config_call(const EventFd& call) {
    VIADUCT_SET(VHOST_VDPA_SET_CONFIG_CALL, call.fd());
}

std::span<std::byte> VdpaDevice::doorbell_page(unsigned queue) {
    return doorbells_.at(queue).bytes();
}

void VdpaDevice::suspend() {
    if (node_->ioctl(VHOST_VDPA_SUSPEND, nullptr) < 0) throw_call_error("VHOST_VDPA_SUSPEND");
}

void VdpaDevice::resume() {
    if (node_->ioctl(VHOST_VDPA_RESUME, nullptr) < 0) throw_call_error("VHOST_VDPA_RESUME");
}

void VdpaDevice::throw_call_error(const char* request_name) const {
    throw SystemError(fmt::format("vDPA device {}: {}", name_, request_name));
}

void VdpaDevice::throw_map_error(std::span<const MemoryRegion> regions) const {
    throw Error("{}", explain_map_error(name_, regions, errno));
}

}  // namespace viaduct::vhost
