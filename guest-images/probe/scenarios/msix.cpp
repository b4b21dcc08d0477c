// Interrupts by MSI-X: each queue's own vector, and masking that loses and doubles nothing.
#include "guest-images/probe/msix.hpp"

#include "guest-images/probe/block.hpp"
#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/interrupts.hpp"
#include "guest-images/probe/lapic.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/scenarios/pattern.hpp"

namespace probe {
namespace {

using block::Completion;
using block::Device;
using block::Status;

// Long enough for an interrupt that should not come to show itself.
constexpr Microseconds grace = 20_ms;

// The interrupt may arrive a little after the completion that it tells of.
void expect_count(uint8_t vector, uint32_t expected) {
    halt_until(1_s, [=] { return interrupts::count(vector) >= expected; });
    CHECK_EQUAL(interrupts::count(vector), expected);
}

void run_msix() {
    Device device{virtio::choose_function()};
    const auto queues = static_cast<uint16_t>(option_number("queues", 1));
    device.start({.wanted_features = block::feature::multi_queue,
                  .queue_count = queues,
                  .completion = Completion::msix});
    CHECK_EQUAL(device.transport.read(virtio::common::config_msix_vector), virtio::no_vector);
    void* buffer = allocate(4096);
    constexpr uint32_t rounds = 5;
    for (uint32_t round = 1; round <= rounds; ++round) {
        for (uint16_t i = 0; i < queues; ++i) {
            CHECK_EQUAL(device.queue(i).read(8ULL * i, buffer, 4096), Status::ok);
            expect_count(device.vector(i), round);
            CHECK_EQUAL(interrupts::last_cpu(device.vector(i)), lapic::id());
        }
    }
    settle(grace);
    for (uint16_t i = 0; i < queues; ++i) {
        CHECK_EQUAL(interrupts::count(device.vector(i)), rounds);
    }
}

// Completes three reads behind a mask: no interrupt, one pending bit, and after `unmask` one
// interrupt.
template <typename Mask, typename Unmask>
void check_masking(Device& device, Mask mask, Unmask unmask) {
    block::Queue& queue = device.queue();
    const uint8_t vector = device.vector();
    void* buffer = allocate(4096);
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    expect_count(vector, 1);
    mask();
    CHECK(!device.msix().is_pending(0));
    queue.set_completion(Completion::polling);
    for (int i = 0; i < 3; ++i) CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    CHECK(spin_until(1_s, [&] { return device.msix().is_pending(0); }), "the bit is never set");
    settle(grace);
    CHECK_EQUAL(interrupts::count(vector), 1U);
    unmask();
    expect_count(vector, 2);
    CHECK(!device.msix().is_pending(0));
    settle(grace);
    CHECK_EQUAL(interrupts::count(vector), 2U);
    queue.set_completion(Completion::msix);
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    expect_count(vector, 3);
}

void run_msix_masked() {
    Device device{virtio::choose_function()};
    device.start({.completion = Completion::msix});
    check_masking(
        device, [&] { device.msix().mask(0); }, [&] { device.msix().unmask(0); });
}

void run_msix_function_mask() {
    Device device{virtio::choose_function()};
    device.start({.completion = Completion::msix});
    check_masking(
        device, [&] { device.msix().mask_function(); },
        [&] {
            // The vector's own mask still holds when the function's is gone.
            device.msix().mask(0);
            device.msix().unmask_function();
            settle(grace);
            CHECK_EQUAL(interrupts::count(device.vector()), 1U);
            CHECK(device.msix().is_pending(0));
            device.msix().unmask(0);
        });
}

// A pending interrupt goes where the entry points when it is unmasked, and so do all after it.
void run_msix_retarget() {
    Device device{virtio::choose_function()};
    device.start({.completion = Completion::msix});
    block::Queue& queue = device.queue();
    void* buffer = allocate(4096);
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    expect_count(device.vector(), 1);
    const uint8_t new_vector = interrupts::allocate();
    device.msix().mask(0);
    queue.set_completion(Completion::polling);
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    CHECK(spin_until(1_s, [&] { return device.msix().is_pending(0); }), "the bit is never set");
    device.msix().route(0, lapic::id(), new_vector);
    device.msix().unmask(0);
    expect_count(new_vector, 1);
    queue.set_completion(Completion::msix);
    CHECK_EQUAL(queue.read(0, buffer, 4096), Status::ok);
    settle(grace);
    CHECK_EQUAL(interrupts::count(new_vector), 2U);
    CHECK_EQUAL(interrupts::count(device.vector()), 1U);
}

constexpr Scenario scenarios[] = {
    {"msix", run_msix},
    {"msix-masked", run_msix_masked},
    {"msix-function-mask", run_msix_function_mask},
    {"msix-retarget", run_msix_retarget},
};

}  // namespace

constexpr ScenarioList msix_scenarios{scenarios};

}  // namespace probe
