/// Waiting for what nobody signals.
#pragma once

#include <chrono>
#include <thread>

namespace viaduct::test {

/// Whether `condition` holds within ten seconds.
template <typename Condition>
bool eventually(Condition&& condition) {
    for (unsigned naps = 0; naps < 10000; ++naps) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
}

}  // namespace viaduct::test
