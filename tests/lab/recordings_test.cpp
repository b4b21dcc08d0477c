// The devices still answer as the recordings say that the unit tests' fake is made from. Where they
// do not, the new recording goes to $LAB_OUTPUT, so that this records them all anew:
//
//   scripts/lab --output tests/recordings -- build/release/lab_tests --gtest_filter=Recordings.*
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/lab/lab_device.hpp"
#include "tests/support/vhost_recording.hpp"
#include "tests/support/vm_process.hpp"
#include "vdpa/vhost/node.hpp"

namespace viaduct::test {
namespace {

class Recordings : public testing::Test {
protected:
    static void expect_answers(const LabDevice& device, const std::string& recording) {
        const auto node = vhost::open_node(device.path());
        const std::string answers = record_vhost_node(*node);
        EXPECT_EQ(load_recording(recording), answers) << "the recording is " << recording;
        const char* const output = std::getenv("LAB_OUTPUT");
        if (HasFailure() && output != nullptr) {
            std::ofstream(output + ("/" + recording + ".txt")) << answers;
        }
    }

    [[nodiscard]] std::string image(std::uint64_t bytes) const {
        std::string path = directory_.path("disk.raw");
        make_pattern_image(path, 0);
        std::filesystem::resize_file(path, bytes);
        return path;
    }

private:
    TemporaryDirectory directory_;
};

TEST_F(Recordings, TheVduseDiskAnswersAsRecorded) {
    expect_answers(LabDevice::vduse("disk", image(64U << 20)), "vduse_block");
}

TEST_F(Recordings, TheVduseDiskWithLongQueuesAnswersAsRecorded) {
    const auto device =
        LabDevice::vduse("disk", image(64U << 20), {"--queues", "2", "--queue-size", "1024"});
    expect_answers(device, "vduse_block_two_queues");
}

TEST_F(Recordings, TheSimulatedDiskAnswersAsRecorded) {
    expect_answers(LabDevice::simulated_disk("disk"), "vdpa_sim_block");
}

TEST_F(Recordings, TheSimulatedNetworkCardAnswersAsRecorded) {
    expect_answers(LabDevice::simulated_net("net"), "vdpa_sim_net");
}

TEST_F(Recordings, TheDiskWithDoorbellsAnswersAsRecorded) {
    expect_answers(LabDevice::hardware("disk", "disk0"), "vp_vdpa_block");
}

TEST_F(Recordings, TheDiskWithADoorbellForEachQueueAnswersAsRecorded) {
    expect_answers(LabDevice::hardware("disk", "disk1"), "vp_vdpa_block_two_queues");
}

}  // namespace
}  // namespace viaduct::test
