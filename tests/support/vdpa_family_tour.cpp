#include "tests/support/vdpa_family_tour.hpp"

#include <algorithm>
#include <functional>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"

namespace viaduct::test {
namespace {

using management::DeviceConfig;
using management::DeviceEntry;
using management::ManagementDevice;
using management::NewDevice;
using management::VdpaFamily;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;

constexpr management::MacAddress card_address{0x52, 0x54, 0x00, 0xab, 0xcd, 0xef};
constexpr std::uint64_t net_mac = 1ULL << 5;
constexpr std::uint64_t net_mtu = 1ULL << 3;

std::string refusal_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& refusal) {
        return refusal.what();
    }
    return "no refusal";
}

NewDevice new_device(const std::string& name, const std::string& parent) {
    return {.name = name,
            .parent = parent,
            .mac = {},
            .mtu = {},
            .max_queue_pairs = {},
            .features = {}};
}

NewDevice new_card() {
    NewDevice card = new_device("tour-card", "vdpasim_net");
    card.mac = card_address;
    card.mtu = 9000;
    card.features =
        net_mac | net_mtu | virtio::feature::version_1 | virtio::feature::access_platform;
    return card;
}

/// What the kernel has besides stays out of the comparison.
std::vector<DeviceEntry> own_of(const std::vector<DeviceEntry>& devices) {
    std::vector<DeviceEntry> own;
    std::ranges::copy_if(devices, std::back_inserter(own), [](const DeviceEntry& device) {
        return device.name.starts_with("tour-");
    });
    std::ranges::sort(own, {}, &DeviceEntry::name);
    return own;
}

}  // namespace

VdpaFamilyTour tour_vdpa_family(std::unique_ptr<management::NetlinkSocket> socket) {
    VdpaFamilyTour tour;
    VdpaFamily family(std::move(socket));
    tour.parents = family.management_devices();
    family.add(new_device("tour-disk", "vdpasim_blk"));
    family.add(new_card());
    tour.devices = own_of(family.devices());
    tour.disk = family.config("tour-disk");
    tour.card = family.config("tour-card");
    tour.found_missing = family.device("tour-nothing").has_value();

    tour.name_taken = refusal_of([&] { family.add(new_device("tour-disk", "vdpasim_blk")); });
    tour.unknown_parent = refusal_of([&] { family.add(new_device("tour-x", "pci/0000:77:00.0")); });
    NewDevice disk_with_address = new_device("tour-x", "vdpasim_blk");
    disk_with_address.mac = card_address;
    tour.attribute_not_taken = refusal_of([&] { family.add(disk_with_address); });
    NewDevice card = new_card();
    card.name = "tour-x";
    card.features = virtio::feature::version_1;
    tour.feature_missing = refusal_of([&] { family.add(card); });
    tour.not_ready = refusal_of([&] { family.add(new_device("tour-x", "vduse")); });
    tour.nothing_to_remove = refusal_of([&] { family.remove("tour-x"); });

    family.remove("tour-card");
    family.remove("tour-disk");
    tour.devices_at_the_end = own_of(family.devices());
    return tour;
}

void expect_tour_of_simulators(const VdpaFamilyTour& tour) {
    const auto parent = [&](const std::string& handle) {
        const auto found = std::ranges::find(tour.parents, handle, &ManagementDevice::handle);
        EXPECT_NE(found, tour.parents.end()) << handle;
        return found != tour.parents.end() ? *found : ManagementDevice{};
    };
    EXPECT_EQ(parent("vdpasim_net").device_types, 1U << 1);
    EXPECT_EQ(parent("vdpasim_blk").device_types, 1U << 2);
    EXPECT_EQ(parent("vdpasim_net").max_queues, 3U);
    EXPECT_EQ(parent("vdpasim_blk").max_queues, std::nullopt) << "it does not say";
    EXPECT_TRUE(parent("vdpasim_net").features.value_or(0) & net_mac);
    EXPECT_EQ(parent("vduse").device_types & 6U, 6U) << "net and block";

    ASSERT_EQ(tour.devices.size(), 2U);
    const DeviceEntry& card = tour.devices[0];
    const DeviceEntry& disk = tour.devices[1];
    EXPECT_EQ(card.name, "tour-card");
    EXPECT_EQ(card.parent, "vdpasim_net");
    EXPECT_EQ(card.device_id, 1U);
    EXPECT_EQ(card.max_queues, 3U);
    EXPECT_EQ(disk.name, "tour-disk");
    EXPECT_EQ(disk.parent, "vdpasim_blk");
    EXPECT_EQ(disk.device_id, 2U);
    EXPECT_EQ(disk.max_queues, 1U);
    EXPECT_EQ(disk.max_queue_size, 256U);
    EXPECT_EQ(disk.min_queue_size, 1U);

    EXPECT_EQ(tour.disk.capacity, 128U << 20);
    EXPECT_EQ(tour.disk.read_only, false);
    EXPECT_EQ(tour.disk.mac, std::nullopt);
    EXPECT_EQ(tour.disk.negotiated_features, std::nullopt) << "no driver has begun";
    EXPECT_THAT(virtio::feature_names(2, tour.disk.features.value_or(0)),
                AllOf(Contains("VIRTIO_BLK_F_FLUSH"), Contains("VIRTIO_F_VERSION_1")));
    EXPECT_EQ(tour.card.mac, card_address);
    EXPECT_EQ(tour.card.mtu, 9000);
    EXPECT_EQ(tour.card.features, *new_card().features);
    EXPECT_EQ(tour.card.capacity, std::nullopt);
    EXPECT_FALSE(tour.found_missing);

    EXPECT_THAT(tour.name_taken, AllOf(HasSubstr("a vDPA device 'tour-disk' already"),
                                       HasSubstr("viaductctl devices del tour-disk")));
    EXPECT_THAT(tour.unknown_parent,
                AllOf(HasSubstr("no parent 'pci/0000:77:00.0'"), HasSubstr("vdpasim_blk")));
    EXPECT_THAT(tour.attribute_not_taken,
                AllOf(HasSubstr("'vdpasim_blk'"), HasSubstr("not supported: 0x400")));
    EXPECT_THAT(tour.feature_missing, HasSubstr("Missing features 0x28 for provided attributes"));
    EXPECT_THAT(tour.not_ready, AllOf(HasSubstr("VDUSE has no device 'tour-x' that is ready"),
                                      HasSubstr("start the daemon")));
    EXPECT_THAT(tour.nothing_to_remove, HasSubstr("no vDPA device 'tour-x'"));
    EXPECT_THAT(tour.devices_at_the_end, testing::IsEmpty());
}

}  // namespace viaduct::test
