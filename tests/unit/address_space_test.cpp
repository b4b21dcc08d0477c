// The one lookup from I/O virtual addresses to host memory.
#include "base/address_space.hpp"

#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"

namespace viaduct {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

class AddressSpaceTest : public testing::Test {
protected:
    [[nodiscard]] MemoryRegion region(std::uint64_t iova, std::size_t size, bool writable = true) {
        return {Iova{iova}, std::span(bytes_).first(size), writable};
    }

    std::vector<std::byte> bytes_ = std::vector<std::byte>(0x3000);
    AddressSpace space_;
};

TEST_F(AddressSpaceTest, FindsWhatLiesWhollyInARegion) {
    space_.map(region(0x1000, 0x1000));
    EXPECT_EQ(space_.find(Iova{0x1000}, 0x1000).data(), bytes_.data());
    EXPECT_EQ(space_.find(Iova{0x1000}, 0x1000).size(), 0x1000U);
    EXPECT_EQ(space_.find(Iova{0x1fff}, 1).data(), bytes_.data() + 0xfff);
    EXPECT_EQ(space_.find(Iova{0x1800}, 0x10).size(), 0x10U);
}

TEST_F(AddressSpaceTest, FindsNothingOutside) {
    space_.map(region(0x1000, 0x1000));
    EXPECT_TRUE(space_.find(Iova{0xfff}, 1).empty());
    EXPECT_TRUE(space_.find(Iova{0x2000}, 1).empty());
    EXPECT_TRUE(space_.find(Iova{0x1fff}, 2).empty());
    EXPECT_TRUE(space_.find(Iova{0xfff}, 2).empty());
    EXPECT_TRUE(AddressSpace().find(Iova{0}, 1).empty());
}

TEST_F(AddressSpaceTest, FindsNothingOfNoLength) {
    space_.map(region(0x1000, 0x1000));
    EXPECT_TRUE(space_.find(Iova{0x1000}, 0).empty());
}

TEST_F(AddressSpaceTest, FindsNothingWhenTheEndWraps) {
    space_.map(region(0x1000, 0x1000));
    EXPECT_TRUE(space_.find(Iova{0x1800}, ~0ULL).empty());
    EXPECT_TRUE(space_.find(Iova{0x1800}, ~0ULL - 0x1800 + 1).empty());
    EXPECT_TRUE(space_.find(Iova{~0ULL}, 2).empty());
}

TEST_F(AddressSpaceTest, FindsNothingAcrossTwoRegionsEvenSideBySide) {
    space_.map(region(0x1000, 0x1000));
    space_.map(region(0x2000, 0x1000));
    EXPECT_TRUE(space_.find(Iova{0x1800}, 0x1000).empty());
    EXPECT_EQ(space_.find(Iova{0x2000}, 0x1000).size(), 0x1000U);
}

TEST_F(AddressSpaceTest, HandsOutForWritingOnlyWhatIsWritable) {
    space_.map(region(0x1000, 0x1000));
    space_.map(region(0x4000, 0x1000, false));
    EXPECT_EQ(space_.find_writable(Iova{0x1000}, 16).size(), 16U);
    EXPECT_EQ(space_.find(Iova{0x4000}, 16).size(), 16U);
    EXPECT_TRUE(space_.find_writable(Iova{0x4000}, 16).empty());
    EXPECT_TRUE(space_.find_writable(Iova{0x3000}, 16).empty());
}

TEST_F(AddressSpaceTest, KeepsItsRegionsSorted) {
    space_.map(region(0x5000, 0x1000));
    space_.map(region(0x1000, 0x1000));
    space_.map(region(0x3000, 0x1000));
    ASSERT_EQ(space_.regions().size(), 3U);
    EXPECT_EQ(space_.regions()[0].iova, Iova{0x1000});
    EXPECT_EQ(space_.regions()[1].iova, Iova{0x3000});
    EXPECT_EQ(space_.regions()[2].iova, Iova{0x5000});
}

TEST_F(AddressSpaceTest, RefusesAnOverlapOnEitherSide) {
    space_.map(region(0x3000, 0x2000));
    for (const std::uint64_t iova : {0x3000U, 0x2001U, 0x4fffU, 0x4000U}) {
        EXPECT_THAT([&] { space_.map(region(iova, 0x1000)); },
                    ThrowsMessage<Error>(HasSubstr("overlaps")))
            << std::hex << iova;
    }
    EXPECT_THROW(space_.map(region(0x2800, 0x3000)), Error);
    EXPECT_EQ(space_.regions().size(), 1U);
    space_.map(region(0x2000, 0x1000));
    space_.map(region(0x5000, 0x1000));
    EXPECT_EQ(space_.regions().size(), 3U);
}

TEST_F(AddressSpaceTest, RefusesARegionThatIsEmptyOrWraps) {
    EXPECT_THAT([&] { space_.map(region(0x1000, 0)); },
                ThrowsMessage<Error>(HasSubstr("empty or wraps")));
    EXPECT_THROW(space_.map(region(~0ULL - 0xfff, 0x2000)), Error);
}

TEST_F(AddressSpaceTest, ForgetsWhatIsUnmapped) {
    space_.map(region(0x1000, 0x1000));
    space_.unmap(Iova{0x1800});
    EXPECT_EQ(space_.regions().size(), 1U);
    space_.unmap(Iova{0x1000});
    EXPECT_TRUE(space_.regions().empty());
    EXPECT_TRUE(space_.find(Iova{0x1000}, 1).empty());
    space_.unmap(Iova{0x1000});
}

}  // namespace
}  // namespace viaduct
