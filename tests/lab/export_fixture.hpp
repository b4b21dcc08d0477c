/// Disks that viaduct-export makes of raw images: what their tests have in common.
#pragma once

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_image.hpp"

namespace viaduct::test {

inline bool is_on_the_bus(const std::string& name) {
    return std::filesystem::exists("/sys/bus/vdpa/devices/" + name);
}

inline std::string shell(const std::string& command) {
    const Outcome outcome = run({"bash", "-euo", "pipefail", "-c", command}, Seconds(120));
    EXPECT_EQ(outcome.status, 0) << command << '\n' << outcome.out << outcome.err;
    return outcome.out;
}

class Export : public testing::Test {
protected:
    [[nodiscard]] std::string image(unsigned mebibytes = 16) const {
        return make_image(directory_, "raw", mebibytes);
    }
    static void expect_gone(ExportedDisk& disk) {
        const Outcome stopped = disk.stop();
        EXPECT_EQ(stopped.status, 0) << stopped.err;
        const Outcome daemon = disk.wait();
        EXPECT_EQ(daemon.status, 0) << daemon.err;
        EXPECT_FALSE(is_on_the_bus(disk.name()));
        EXPECT_FALSE(std::filesystem::exists("/dev/vduse/" + disk.name()));
        EXPECT_FALSE(std::filesystem::exists("/run/viaduct/" + disk.name()));
    }

    TemporaryDirectory directory_;
};

}  // namespace viaduct::test
