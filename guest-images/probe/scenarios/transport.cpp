// The common and device configuration structures (virtio 1.2, 4.1.4.3 and 4.1.4.6), for any device
// id.
#include <initializer_list>

#include "guest-images/probe/command_line.hpp"
#include "guest-images/probe/report.hpp"
#include "guest-images/probe/scenarios/lists.hpp"
#include "guest-images/probe/virtio_pci.hpp"

namespace probe {
namespace {

using virtio::Transport;
namespace common = virtio::common;
namespace status = virtio::status;

constexpr uint32_t windows_past_the_end[] = {2, 3, 0xffffffff};

void run_features() {
    const Transport transport{virtio::choose_function()};
    const uint64_t offered = transport.device_features();
    print("features ", hex(offered), "\n");
    CHECK((offered & virtio::feature::version_1) != 0, hex(offered));
    CHECK_EQUAL(transport.device_features(), offered);
    for (const uint32_t window : windows_past_the_end) {
        transport.write(common::device_feature_select, window);
        CHECK_EQUAL(transport.read(common::device_feature_select), window);
        CHECK_EQUAL(transport.read(common::device_feature), 0U);
    }
    transport.add_status(status::acknowledge | status::driver);
    transport.write_features(offered);
    for (const uint32_t window : windows_past_the_end) {
        transport.write(common::driver_feature_select, window);
        transport.write(common::driver_feature, 0);
        CHECK_EQUAL(transport.read(common::driver_feature), 0U);
    }
    for (const uint32_t window : {0U, 1U}) {
        transport.write(common::driver_feature_select, window);
        CHECK_EQUAL(transport.read(common::driver_feature_select), window);
        CHECK_EQUAL(transport.read(common::driver_feature),
                    static_cast<uint32_t>(offered >> (32 * window)));
    }
    transport.add_status(status::features_ok);
    CHECK((transport.device_status() & status::features_ok) != 0, "all that is offered is refused");
    // The set is settled: a late write must not change what was agreed on.
    transport.write(common::device_feature_select, 0);
    CHECK_EQUAL(transport.read(common::device_feature), static_cast<uint32_t>(offered));
    transport.reset();
    CHECK_EQUAL(transport.device_features(), offered);
}

uint64_t lowest_bit_not_in(uint64_t features, uint64_t from) {
    while ((features & from) != 0) from <<= 1;
    return from;
}

void run_features_refused() {
    const Transport transport{virtio::choose_function()};
    const uint64_t offered = transport.device_features();
    const uint64_t unoffered_low = lowest_bit_not_in(offered, 1);
    const uint64_t unoffered_high = lowest_bit_not_in(offered, 1ULL << 34);
    for (const uint64_t features : {offered | unoffered_low, offered | unoffered_high,
                                    offered & ~virtio::feature::version_1, uint64_t{0}}) {
        transport.reset();
        const bool is_accepted = transport.negotiate(features);
        CHECK(!is_accepted || runs_on_qemu(), "accepted: ", hex(features), " of ", hex(offered));
        // A driver may think better of it.
        transport.reset();
        CHECK(transport.negotiate(offered), "refused after a reset: ", hex(offered));
    }
    // The same in a window past the end.
    transport.reset();
    transport.add_status(status::acknowledge | status::driver);
    transport.write_features(offered);
    transport.write(common::driver_feature_select, 2);
    transport.write(common::driver_feature, 1);
    transport.add_status(status::features_ok);
    const bool is_accepted = (transport.device_status() & status::features_ok) != 0;
    print("bit 64 written: ", is_accepted ? "ignored" : "refused", "\n");
}

void run_status_protocol() {
    const Transport transport{virtio::choose_function()};
    CHECK_EQUAL(transport.device_status(), 0);
    const auto expect_after_write = [&](uint8_t written, uint8_t expected) {
        transport.write(common::device_status, written);
        CHECK_EQUAL(transport.device_status(), expected);
    };
    expect_after_write(status::acknowledge, status::acknowledge);
    const auto driver = uint8_t{status::acknowledge | status::driver};
    expect_after_write(driver, driver);
    if (!runs_on_qemu()) {
        // Bits only add up; only 0 takes any away (virtio 1.2, 2.1.1).
        expect_after_write(status::driver, driver);
        expect_after_write(status::acknowledge, driver);
    }
    transport.write_features(transport.device_features());
    const auto agreed = static_cast<uint8_t>(driver | status::features_ok);
    expect_after_write(agreed, agreed);
    const auto failed = static_cast<uint8_t>(agreed | status::failed);
    expect_after_write(failed, failed);
    transport.reset();
    CHECK_EQUAL(transport.device_status(), 0);
    expect_after_write(0, 0);
    CHECK(transport.negotiate(transport.device_features()));
}

template <typename T>
void compare_with_bytes(const Transport& transport, uint32_t size) {
    for (uint32_t offset = 0; offset + sizeof(T) <= size; offset += sizeof(T)) {
        uint64_t expected = 0;
        for (uint32_t i = 0; i < sizeof(T); ++i) {
            expected |= uint64_t{transport.read_config<uint8_t>(offset + i)} << (8 * i);
        }
        CHECK_EQUAL(uint64_t{transport.read_config<T>(offset)}, expected);
    }
}

// Block's structure has 56 bytes before write_zeroes_may_unmap; of other types 8 bytes are looked
// at.
uint32_t config_size_of(uint16_t device_id) {
    return device_id == 2 ? 56 : 8;
}

void run_config_access() {
    const Transport transport{virtio::choose_function()};
    const uint32_t size = config_size_of(transport.device_id());
    compare_with_bytes<uint16_t>(transport, size);
    compare_with_bytes<uint32_t>(transport, size);
    compare_with_bytes<uint64_t>(transport, size);
    const auto before = transport.read_config<uint64_t>(0);
    transport.write_config<uint8_t>(0, 0x5a);
    transport.write_config<uint16_t>(2, 0x5a5a);
    transport.write_config<uint32_t>(4, 0x5a5a5a5a);
    transport.write_config<uint64_t>(0, 0x5a5a5a5a5a5a5a5a);
    if (transport.device_id() == 2) CHECK_EQUAL(transport.read_config<uint64_t>(0), before);
    const virtio::Location location =
        virtio::find_structure(transport.function(), virtio::Structure::device);
    const uint32_t last = location.length - 8;
    print("length ", location.length, ", last 8 bytes ", hex(transport.read_config<uint64_t>(last)),
          "\n");
    // Past what the device has: all ones or zeroes, and writes are ignored.
    transport.write_config<uint64_t>(last, 0x5a5a5a5a5a5a5a5a);
    const auto past_end = transport.read_config<uint64_t>(last);
    CHECK(past_end == 0 || past_end == ~0ULL || location.length <= 64, hex(past_end));
}

// Without end: a machine that is stopped or reset from outside nearly always finds the CPU inside
// of a read.
void run_config_loop() {
    const Transport transport{virtio::choose_function()};
    const uint64_t tick = option_number("tick", 1000);
    const auto before = transport.read_config<uint64_t>(0);
    for (uint64_t reads = 1;; ++reads) {
        CHECK_EQUAL(transport.read_config<uint64_t>(0), before);
        if (reads % tick == 0) print("tick ", reads / tick, "\n");
    }
}

void run_config_generation() {
    const Transport transport{virtio::choose_function()};
    const auto before = transport.read(common::config_generation);
    for (int i = 0; i < 100; ++i) {
        transport.read_config<uint64_t>(0);
        CHECK_EQUAL(transport.read(common::config_generation), before);
    }
}

constexpr Scenario scenarios[] = {
    {"features", run_features},
    {"features-refused", run_features_refused},
    {"status-protocol", run_status_protocol},
    {"config-access", run_config_access},
    {"config-loop", run_config_loop},
    {"config-generation", run_config_generation},
};

}  // namespace

constexpr ScenarioList transport_scenarios{scenarios};

}  // namespace probe
