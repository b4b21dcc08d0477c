#include "guest-images/probe/block.hpp"

#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/report.hpp"

namespace probe::block {
namespace {

constexpr uint64_t always_accepted = virtio::feature::version_1 | virtio::feature::access_platform |
                                     feature::read_only | feature::flush;
constexpr uint16_t largest_default_size = 256;

}  // namespace

void Device::negotiate(const Setup& setup) {
    transport.reset();
    const uint64_t offered = transport.device_features();
    CHECK((offered & virtio::feature::version_1) != 0, hex(offered));
    features_ = offered & (always_accepted | setup.wanted_features);
    CHECK(transport.negotiate(features_), "FEATURES_OK refused for ", hex(features_));
    const auto queue_count = transport.read(virtio::common::num_queues);
    CHECK(queue_count >= setup.queue_count, queue_count, " queues, wanted ", setup.queue_count);
    prepare_msix(setup);
}

void Device::prepare_msix(const Setup& setup) {
    const auto& function = transport.function();
    if (setup.completion != Completion::msix) {
        if (function.find_capability(pci::capability::msix) != 0) MsixTable{function}.disable();
        return;
    }
    if (msix_ == nullptr) msix_ = &create<MsixTable>(function);
    CHECK(msix_->size() >= setup.queue_count, msix_->size());
    msix_->enable();
    msix_->unmask_function();
    for (uint16_t i = 0; i < setup.queue_count; ++i) {
        if (vectors_[i] == 0) vectors_[i] = interrupts::allocate();
        msix_->mask(i);
        msix_->route(i, lapic::id(), vectors_[i]);
        msix_->unmask(i);
    }
}

void Device::set_up_queue(uint16_t index, uint16_t size, uint16_t msix_entry) {
    const uint16_t device_size = transport.queue_size(index);
    CHECK(device_size != 0, "queue ", index, " has size 0");
    if (size == 0) size = device_size < largest_default_size ? device_size : largest_default_size;
    transport.write(virtio::common::queue_size, size);
    CHECK_EQUAL(transport.read(virtio::common::queue_size), size);
    transport.write(virtio::common::queue_msix_vector, msix_entry);
    CHECK_EQUAL(transport.read(virtio::common::queue_msix_vector), msix_entry);
    queues_[index] = &create<Queue>(transport, index, size, has(virtio::feature::event_idx));
    transport.write_queue_addresses(queues_[index]->ring.addresses());
    transport.write(virtio::common::queue_enable, 1);
    CHECK_EQUAL(transport.read(virtio::common::queue_enable), 1);
}

void Device::start(const Setup& setup) {
    CHECK(setup.queue_count <= most_queues, setup.queue_count);
    negotiate(setup);
    for (uint16_t i = 0; i < setup.queue_count; ++i) {
        const bool uses_msix = setup.completion == Completion::msix;
        set_up_queue(i, setup.queue_size, uses_msix ? i : virtio::no_vector);
        queues_[i]->set_completion(setup.completion);
        queues_[i]->ring.set_no_interrupt(setup.completion == Completion::polling);
    }
    set_driver_ok();
}

}  // namespace probe::block
