/// Everything that the kernel's "vdpa" family can be asked, in an order, on a host with vDPA's
/// simulators: on a real kernel in the lab, and again on the recording of that.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vdpa/management/vdpa_family.hpp"

namespace viaduct::test {

struct VdpaFamilyTour {
    std::vector<management::ManagementDevice> parents;
    std::vector<management::DeviceEntry> devices;  // a disk and a card, as added
    management::DeviceConfig disk;
    management::DeviceConfig card;
    bool found_missing = false;  // a device of a name that there is not
    // What the refusals say.
    std::string name_taken;
    std::string unknown_parent;
    std::string attribute_not_taken;
    std::string feature_missing;
    std::string not_ready;
    std::string nothing_to_remove;
    std::vector<management::DeviceEntry> devices_at_the_end;
};

/// Adds devices "tour-disk" and "tour-card", and removes them.
VdpaFamilyTour tour_vdpa_family(std::unique_ptr<management::NetlinkSocket> socket);

/// gtest's expectations: that the kernel says what 6.12 says.
void expect_tour_of_simulators(const VdpaFamilyTour& tour);

}  // namespace viaduct::test
