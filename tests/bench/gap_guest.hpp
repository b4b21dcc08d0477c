/// The probe under load, asked from outside how long it waited for its next completion: what a
/// guest notices of what is done to its device.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "tests/qmp_client.hpp"
#include "tests/support/guest_serial.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::bench {

class GapGuest {
public:
    /// Its disk is `device`, a value of --device; `keys` are the scenario deep-io's. Returns when
    /// the load runs.
    GapGuest(const std::string& device, const std::string& keys);

    /// Does `deed`; returns the longest time without a completion, from `pause` before it until
    /// `pause` after it, in microseconds.
    double longest_gap(const std::function<void()>& deed, std::chrono::milliseconds pause);
    [[nodiscard]] tests::QmpClient& qmp() noexcept { return qmp_; }

private:
    /// Since it was last asked.
    double ask();

    test::TemporaryDirectory directory_;
    test::Process machine_;
    test::GuestSerial serial_;
    tests::QmpClient qmp_;
};

}  // namespace viaduct::bench
