/// Runs the probe guest under viaduct on /dev/kvm with the embedded device.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/vm_process.hpp"

namespace viaduct::test {

struct ProbeRun {
    std::string scenario;                   // with its keys: "smp cpus=4"
    std::vector<std::string> options = {};  // of viaduct run, beyond the kernel
    Seconds deadline{90};
};

/// `viaduct run` with the probe as its kernel.
std::vector<std::string> probe_command(const ProbeRun& run);

/// Runs it to its end and expects the scenario to pass.
void expect_probe_passes(const ProbeRun& run);

/// "vdpa,image=…" with the given properties, over a fresh pattern image in `directory`.
std::string image_device(const TemporaryDirectory& directory, const std::string& properties = "",
                         std::uint64_t bytes = 16U << 20);

}  // namespace viaduct::test
