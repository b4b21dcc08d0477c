// The guest's RAM: shared, in one memfd, at its physical addresses.
#include "vmm/guest_memory.hpp"

#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "vdpa/vhost/map_error.hpp"

namespace viaduct::vmm {
namespace {

using firmware::MemoryRange;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::uint64_t mib = 1ULL << 20;
constexpr std::uint64_t above_4_gib = 4ULL << 30;
constexpr std::array split{MemoryRange{Gpa{0}, 2 * mib}, MemoryRange{Gpa{above_4_gib}, mib}};

TEST(GuestMemory, StandsAtItsPhysicalAddresses) {
    const GuestMemory memory(split, PageSize::small);
    const auto regions = memory.address_space().regions();
    ASSERT_EQ(regions.size(), 2U);
    EXPECT_EQ(regions[0].iova, Iova{0});
    EXPECT_EQ(regions[0].bytes.size(), 2 * mib);
    EXPECT_EQ(regions[1].iova, Iova{above_4_gib});
    EXPECT_EQ(regions[1].bytes.size(), mib);
    EXPECT_TRUE(regions[0].writable && regions[1].writable);
}

TEST(GuestMemory, RegionsAreDifferentMemory) {
    const GuestMemory memory(split, PageSize::small);
    const auto low_end = memory.address_space().find(Iova{2 * mib - 1}, 1);
    const auto high_start = memory.address_space().find(Iova{above_4_gib}, 1);
    low_end[0] = std::byte{1};
    high_start[0] = std::byte{2};
    EXPECT_EQ(low_end[0], std::byte{1});
    EXPECT_EQ(high_start.data(), low_end.data() + 1);
}

TEST(GuestMemory, IsSharedSoThatAVdpaDeviceSeesIt) {
    const GuestMemory memory(split, PageSize::small);
    for (const MemoryRegion& region : memory.address_space().regions()) {
        EXPECT_NO_THROW(vhost::refuse_private_memory("/dev/vhost-vdpa-0", region));
    }
}

TEST(GuestMemory, IsZeroAndTakesNoHostMemoryUntilItIsTouched) {
    const auto resident_pages = [] {
        std::ifstream statm("/proc/self/statm");
        std::uint64_t size = 0;
        std::uint64_t resident = 0;
        statm >> size >> resident;
        return resident;
    };
    const std::uint64_t before = resident_pages();
    const GuestMemory memory(std::array{MemoryRange{Gpa{0}, 1024 * mib}}, PageSize::small);
    EXPECT_LT(resident_pages() - before, 16 * mib / 4096);
    const auto bytes = memory.address_space().find(Iova{512 * mib}, 4096);
    EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{0}), 4096);
}

TEST(GuestMemory, KnowsWhatOverlapsIt) {
    const GuestMemory memory(split, PageSize::small);
    EXPECT_TRUE(memory.overlaps(Gpa{0}, 1));
    EXPECT_TRUE(memory.overlaps(Gpa{2 * mib - 1}, 0x1000));
    EXPECT_TRUE(memory.overlaps(Gpa{above_4_gib - 1}, 2));
    EXPECT_TRUE(memory.overlaps(Gpa{mib}, 8ULL << 30));
    EXPECT_FALSE(memory.overlaps(Gpa{2 * mib}, above_4_gib - 2 * mib));
    EXPECT_FALSE(memory.overlaps(Gpa{above_4_gib + mib}, 0x1000));
}

std::uint64_t meminfo(const std::string& name) {
    std::ifstream file("/proc/meminfo");
    std::string line;
    while (std::getline(file, line)) {
        if (line.starts_with(name + ":")) return std::stoull(line.substr(name.size() + 1));
    }
    return 0;
}

TEST(GuestMemory, HugePagesThatAreNotThereSayHowManyAreNeededAndHowToGetThem) {
    const std::uint64_t page = meminfo("Hugepagesize") * 1024;
    ASSERT_NE(page, 0U) << "the kernel has no huge pages: CONFIG_HUGETLBFS is needed";
    const std::uint64_t wanted = meminfo("HugePages_Free") - meminfo("HugePages_Rsvd") + 3;
    const std::array ranges{MemoryRange{Gpa{0}, wanted * page}};
    EXPECT_THAT([&] { GuestMemory(ranges, PageSize::huge); },
                ThrowsMessage<Error>(AllOf(HasSubstr(std::to_string(wanted) + " huge pages"),
                                           HasSubstr(std::to_string(wanted - 3) + " are free"),
                                           HasSubstr("vm.nr_hugepages"))));
}

TEST(GuestMemory, MemoryThatIsNoWholeNumberOfHugePagesNamesTheirSize) {
    const std::uint64_t page = meminfo("Hugepagesize") * 1024;
    ASSERT_NE(page, 0U) << "the kernel has no huge pages: CONFIG_HUGETLBFS is needed";
    const std::array ranges{MemoryRange{Gpa{0}, page / 2}};
    EXPECT_THAT(
        [&] { GuestMemory(ranges, PageSize::huge); },
        ThrowsMessage<Error>(AllOf(HasSubstr(std::to_string(page)), HasSubstr("not a multiple"))));
}

TEST(GuestMemory, MoreThanTheHostCanMapIsAnErrorWithItsSize) {
    const std::array ranges{MemoryRange{Gpa{0}, 1ULL << 50}};
    EXPECT_THAT([&] { GuestMemory(ranges, PageSize::small); },
                ThrowsMessage<Error>(HasSubstr(std::to_string(1ULL << 50))));
}

}  // namespace
}  // namespace viaduct::vmm
