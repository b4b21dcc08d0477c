/// Images for the lab's disks.
#pragma once

#include <string>

#include "tests/support/vm_process.hpp"

namespace viaduct::test {

/// An empty image of `mebibytes`, of one of QEMU's formats, as "disk.FORMAT" in the directory.
std::string make_image(const TemporaryDirectory& directory, const std::string& format,
                       unsigned mebibytes);

}  // namespace viaduct::test
