#include "devices/virtio/split_ring_chain.hpp"

#include <array>

#include <gtest/gtest.h>

#include "tests/unit/ring_driver.hpp"

namespace viaduct::virtio {
namespace {

namespace flag = descriptor_flag;

constexpr std::uint16_t ring_size = 8;
constexpr std::uint16_t longest = 12;

class Chains : public testing::Test {
protected:
    std::optional<RingFault> read(std::uint16_t head = 0) { return reader_.read(head); }
    const Chain& chain() { return reader_.chain(); }

    Iova make_table(std::span<const Descriptor> descriptors, std::size_t misalignment = 0) {
        const Iova table = memory_.allocate(descriptors.size_bytes() + misalignment) + misalignment;
        std::memcpy(memory_.at(table, descriptors.size_bytes()).data(), descriptors.data(),
                    descriptors.size_bytes());
        return table;
    }
    void name_table(Iova table, std::size_t bytes, std::uint16_t flags = flag::indirect) {
        driver_.set_descriptor(0, {table, static_cast<std::uint32_t>(bytes), flags, 0});
    }

    test::GuestMemory memory_{1 << 20};
    test::RingDriver driver_{memory_, ring_size};
    Iova buffer_ = memory_.allocate(4096);
    ChainReader reader_{driver_.ring(), memory_.space(), true, longest};
};

TEST_F(Chains, AreSplitIntoReadableAndWritable) {
    const auto head = driver_.add(std::array{test::Buffer{buffer_, 16, false},
                                             test::Buffer{buffer_ + 16, 100, true},
                                             test::Buffer{buffer_ + 116, 1, true}});
    ASSERT_EQ(read(head), std::nullopt);
    EXPECT_EQ(chain().head, head);
    ASSERT_EQ(chain().readable.size(), 1U);
    ASSERT_EQ(chain().writable.size(), 2U);
    EXPECT_EQ(chain().readable[0].bytes.data(), memory_.at(buffer_, 1).data());
    EXPECT_EQ(chain().writable[0].bytes.size(), 100U);
    EXPECT_EQ(chain().writable[1].address, buffer_ + 116);
}

TEST_F(Chains, AreReadThroughAnIndirectTable) {
    driver_.add_indirect(
        std::array{test::Buffer{buffer_, 16, false}, test::Buffer{buffer_ + 16, 100, true}});
    ASSERT_EQ(read(), std::nullopt);
    EXPECT_EQ(chain().readable.size(), 1U);
    EXPECT_EQ(chain().writable.size(), 1U);
}

TEST_F(Chains, MayEndWithAnIndirectTableThatIsNotAligned) {
    const Iova table = make_table(std::array{Descriptor{buffer_ + 16, 8, flag::write, 0}}, 1);
    driver_.set_descriptor(0, {buffer_, 16, flag::next, 5});
    driver_.set_descriptor(5, {table, 16, flag::indirect | flag::write, 0});
    ASSERT_EQ(read(), std::nullopt);
    EXPECT_EQ(chain().readable.size(), 1U);
    EXPECT_EQ(chain().writable.size(), 1U);
}

TEST_F(Chains, StayWhatTheyWereWhenTheirTableIsRewritten) {
    const Iova table = make_table(std::array{Descriptor{buffer_, 16, flag::next, 1},
                                             Descriptor{buffer_ + 16, 8, flag::write, 0}});
    name_table(table, 32);
    ASSERT_EQ(read(), std::nullopt);
    memory_.store(table, Descriptor{Iova{0}, 0xffffffff, flag::write, 7});
    memory_.store(table + 16, Descriptor{Iova{0}, 0xffffffff, flag::write, 7});
    EXPECT_EQ(chain().readable[0].bytes.size(), 16U);
    EXPECT_EQ(chain().writable[0].bytes.data(), memory_.at(buffer_ + 16, 1).data());
}

TEST_F(Chains, HaveNoBytesWhereABufferIsNotInMemory) {
    constexpr std::uint64_t top = ~std::uint64_t{0};
    for (const auto& [address, length] : {std::pair{Iova{0}, 16U},
                                          {Iova{memory_.end().value - 8}, 16U},
                                          {memory_.end(), 1U},
                                          {Iova{top - 7}, 16U},
                                          {Iova{top}, 0xffffffffU},
                                          {buffer_, 0U},
                                          {buffer_, 0xffffffffU}}) {
        driver_.set_descriptor(0, {address, length, flag::write, 0});
        ASSERT_EQ(read(), std::nullopt);
        EXPECT_TRUE(chain().writable[0].bytes.empty()) << address.value << '+' << length;
    }
}

TEST_F(Chains, MayReadButNotWriteReadOnlyMemory) {
    AddressSpace space;
    MemoryRegion region = memory_.region();
    region.writable = false;
    space.map(region);
    ChainReader reader(driver_.ring(), space, true, longest);
    driver_.set_descriptor(0, {buffer_, 16, flag::next, 1});
    driver_.set_descriptor(1, {buffer_, 16, flag::write, 0});
    ASSERT_EQ(reader.read(0), std::nullopt);
    EXPECT_EQ(reader.chain().readable[0].bytes.size(), 16U);
    EXPECT_TRUE(reader.chain().writable[0].bytes.empty());
}

TEST_F(Chains, AreRefusedWhenTheHeadIsOutsideTheTable) {
    EXPECT_EQ(read(ring_size), RingFault::head_out_of_range);
    EXPECT_EQ(read(65535), RingFault::head_out_of_range);
}

TEST_F(Chains, AreRefusedWhenNextIsOutsideTheTable) {
    driver_.set_descriptor(0, {buffer_, 16, flag::next, ring_size});
    EXPECT_EQ(read(), RingFault::next_out_of_range);
    name_table(make_table(std::array{Descriptor{buffer_, 16, flag::next, 1}}), 16);
    EXPECT_EQ(read(), RingFault::next_out_of_range);
}

TEST_F(Chains, AreRefusedWhenTheyLoop) {
    driver_.set_descriptor(0, {buffer_, 16, flag::next, 0});
    EXPECT_EQ(read(), RingFault::chain_too_long);
    driver_.set_descriptor(0, {buffer_, 16, flag::next, 1});
    driver_.set_descriptor(1, {buffer_, 16, flag::next, 0});
    EXPECT_EQ(read(), RingFault::chain_too_long);
    name_table(make_table(std::array{Descriptor{buffer_, 16, flag::next, 0}}), 16);
    EXPECT_EQ(read(), RingFault::chain_too_long);
}

TEST_F(Chains, MayBeAsLongAsTheReaderAllowsAndNoLonger) {
    std::vector<Descriptor> table;
    for (std::uint16_t i = 1; i < longest; ++i) table.push_back({buffer_, 16, flag::next, i});
    table.push_back({buffer_, 16, 0, 0});
    name_table(make_table(table), table.size() * 16);
    ASSERT_EQ(read(), std::nullopt);
    EXPECT_EQ(chain().readable.size(), longest);
    table.back() = {buffer_, 16, flag::next, longest};
    table.push_back({buffer_, 16, 0, 0});
    name_table(make_table(table), table.size() * 16);
    EXPECT_EQ(read(), RingFault::chain_too_long);
}

TEST_F(Chains, AreRefusedWhenAReadableBufferFollowsAWritableOne) {
    driver_.set_descriptor(0, {buffer_, 16, flag::write | flag::next, 1});
    driver_.set_descriptor(1, {buffer_, 16, 0, 0});
    EXPECT_EQ(read(), RingFault::readable_after_writable);
}

TEST_F(Chains, AreRefusedWhenAnIndirectTableHasABadLength) {
    const Iova table = make_table(std::array{Descriptor{buffer_, 16, 0, 0}});
    for (const std::size_t bytes : {0U, 1U, 15U, 17U, 0xffffffffU}) {
        name_table(table, bytes);
        EXPECT_EQ(read(), RingFault::indirect_bad_length) << bytes;
    }
}

TEST_F(Chains, AreRefusedWhenAnIndirectTableIsNotInMemory) {
    for (const Iova table : {Iova{0}, Iova{memory_.end().value - 16}, Iova{~std::uint64_t{15}}}) {
        name_table(table, 32);
        EXPECT_EQ(read(), RingFault::indirect_not_mapped) << table.value;
    }
    name_table(buffer_, 0xfffffff0);
    EXPECT_EQ(read(), RingFault::indirect_not_mapped);
}

TEST_F(Chains, AreRefusedWhenAnIndirectTableNamesAnother) {
    const Iova inner = make_table(std::array{Descriptor{buffer_, 16, 0, 0}});
    name_table(make_table(std::array{Descriptor{inner, 16, flag::indirect, 0}}), 16);
    EXPECT_EQ(read(), RingFault::indirect_in_indirect);
}

TEST_F(Chains, AreRefusedWithBothIndirectAndNext) {
    const Iova table = make_table(std::array{Descriptor{buffer_, 16, 0, 0}});
    name_table(table, 16, flag::indirect | flag::next);
    EXPECT_EQ(read(), RingFault::indirect_with_next);
}

TEST_F(Chains, AreRefusedWithAnIndirectTableThatWasNotNegotiated) {
    ChainReader reader(driver_.ring(), memory_.space(), false, longest);
    name_table(make_table(std::array{Descriptor{buffer_, 16, 0, 0}}), 16);
    EXPECT_EQ(reader.read(0), RingFault::indirect_not_negotiated);
}

TEST(RingFault, IsDescribedInWordsOfItsOwn) {
    std::vector<std::string> texts;
    for (int fault = 0; fault <= static_cast<int>(RingFault::no_room_for_the_status); ++fault) {
        texts.emplace_back(describe(static_cast<RingFault>(fault)));
    }
    std::sort(texts.begin(), texts.end());
    EXPECT_EQ(std::adjacent_find(texts.begin(), texts.end()), texts.end());
}

}  // namespace
}  // namespace viaduct::virtio
