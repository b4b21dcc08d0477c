/// Embedded disks over the exports of real NBD servers.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/nbd_server.hpp"
#include "tests/unit/soft_disk.hpp"
#include "tests/unit/verified_load.hpp"
#include "vdpa/soft/image/nbd/nbd_image.hpp"
#include "vdpa/soft/soft_device.hpp"

namespace viaduct::test {

inline soft::SoftDeviceOptions options_for(const NbdServer& server, unsigned queues = 1) {
    soft::provide_nbd();
    soft::SoftDeviceOptions options;
    options.image = server.uri();
    options.queues = queues;
    return options;
}

/// Kills the server and starts it anew, `times` times, at once or after a while, under a load that
/// goes on between any two. No request fails.
inline void restart_under_load(NbdServer& server, SoftDisk& disk, unsigned times) {
    VerifiedLoad load(disk);
    std::atomic<bool> stop = false;
    std::thread guest([&] { load.run(stop); });
    for (unsigned i = 0; i < times; ++i) {
        EXPECT_TRUE(load.goes_on());
        server.kill();
        if (i % 2 != 0) std::this_thread::sleep_for(std::chrono::milliseconds(150));
        server.start();
    }
    EXPECT_TRUE(load.goes_on());
    stop = true;
    guest.join();
    EXPECT_EQ(disk.device().counters(0).failed.load(), 0U);
}

}  // namespace viaduct::test
