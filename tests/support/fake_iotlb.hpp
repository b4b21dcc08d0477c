/// vhost-vdpa's own table of what a driver has mapped (drivers/vhost/vdpa.c of Linux 6.12): it
/// stays over a reset, whatever becomes of the parent's.
#pragma once

#include <linux/vhost_types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/fake_vdpa_parent.hpp"

namespace viaduct::test {

class FakeIotlb {
public:
    /// "IOTLB_UPDATE", and how the message reads after it.
    static std::string name_of(std::uint8_t type);
    static std::string describe(const vhost_iotlb_msg& message);

    /// 0 or an errno. The range that may be mapped includes both ends.
    int handle(const vhost_iotlb_msg& message, std::uint64_t first, std::uint64_t last);

    [[nodiscard]] bool in_batch() const { return in_batch_; }
    [[nodiscard]] const std::vector<FakeVdpaParent::Entry>& entries() const { return entries_; }

private:
    int add(const vhost_iotlb_msg& message, std::uint64_t first, std::uint64_t last);
    void remove(const vhost_iotlb_msg& message);

    std::vector<FakeVdpaParent::Entry> entries_;
    bool in_batch_ = false;
};

}  // namespace viaduct::test
