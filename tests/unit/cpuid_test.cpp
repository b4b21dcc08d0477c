// What a vCPU's CPUID says about its place in the package.
#include "vmm/arch/x86_64/cpuid.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace viaduct::x86 {
namespace {

kvm_cpuid_entry2 leaf(std::uint32_t function, std::uint32_t index = 0) {
    kvm_cpuid_entry2 entry{};
    entry.function = function;
    entry.index = index;
    return entry;
}

/// As KVM lists it: other bits set everywhere, so that a test sees what is left alone.
std::vector<kvm_cpuid_entry2> supported() {
    std::vector<kvm_cpuid_entry2> leaves{
        leaf(0),   leaf(1),    leaf(4, 0),        leaf(4, 1),        leaf(4, 2),       leaf(4, 3),
        leaf(0xb), leaf(0x1f), leaf(0x8000'0008), leaf(0x8000'001e), leaf(0x4000'0001)};
    leaves[0].eax = 0x1f;
    leaves[1].ebx = 0xffff'ffff;
    leaves[1].ecx = 0x0000'0001;
    leaves[1].edx = 0xffff'ffff;
    // Types and levels of caches: level in bits 7:5.
    leaves[2].eax = 1 | 1U << 5;
    leaves[3].eax = 2 | 1U << 5;
    leaves[4].eax = 3 | 2U << 5;
    leaves[5].eax = 3 | 3U << 5;
    leaves[8].eax = 0x3028;
    leaves[8].ecx = 0xffff'ffff;
    leaves[9].ebx = 0xffff'ffff;
    leaves[10].eax = 0x0100'7efb;
    return leaves;
}

const kvm_cpuid_entry2& find(const std::vector<kvm_cpuid_entry2>& cpuid, std::uint32_t function,
                             std::uint32_t index = 0) {
    const auto found = std::find_if(cpuid.begin(), cpuid.end(), [&](const auto& entry) {
        return entry.function == function && entry.index == index;
    });
    EXPECT_NE(found, cpuid.end()) << std::hex << function << "." << index;
    return *found;
}

std::uint32_t bits(std::uint32_t word, unsigned shift, unsigned width) {
    return word >> shift & ((1U << width) - 1);
}

TEST(Cpuid, KeepsWhatKvmSupports) {
    const auto cpuid = vcpu_cpuid(supported(), 0, 1);
    EXPECT_EQ(find(cpuid, 0).eax, 0x1fU);
    EXPECT_EQ(find(cpuid, 0x4000'0001).eax, 0x0100'7efbU);
    EXPECT_EQ(bits(find(cpuid, 1).ecx, 0, 1), 1U);
    EXPECT_EQ(bits(find(cpuid, 1).ebx, 0, 16), 0xffffU);
}

TEST(Cpuid, Leaf1HasTheVcpusApicIdAndTheNumberOfIds) {
    const auto cpuid = vcpu_cpuid(supported(), 5, 6);
    const auto& features = find(cpuid, 1);
    EXPECT_EQ(bits(features.ebx, 24, 8), 5U);
    EXPECT_EQ(bits(features.ebx, 16, 8), 8U);
    EXPECT_EQ(bits(features.edx, 28, 1), 1U);  // HTT
}

TEST(Cpuid, OneVcpuHasNoNeighbours) {
    const auto cpuid = vcpu_cpuid(supported(), 0, 1);
    EXPECT_EQ(bits(find(cpuid, 1).edx, 28, 1), 0U);
    EXPECT_EQ(bits(find(cpuid, 1).ebx, 16, 8), 1U);
    EXPECT_EQ(find(cpuid, 0xb, 1).eax, 0U);
    EXPECT_EQ(find(cpuid, 0xb, 1).ebx, 1U);
    EXPECT_EQ(bits(find(cpuid, 4, 3).eax, 14, 12), 0U);
    EXPECT_EQ(bits(find(cpuid, 4, 3).eax, 26, 6), 0U);
}

TEST(Cpuid, TellsThatThereIsAHypervisorWithATscDeadlineTimer) {
    const auto cpuid = vcpu_cpuid(supported(), 0, 1);
    EXPECT_EQ(bits(find(cpuid, 1).ecx, 31, 1), 1U);
    EXPECT_EQ(bits(find(cpuid, 1).ecx, 24, 1), 1U);
}

TEST(Cpuid, TopologyIsOneThreadPerCoreAndOnePackage) {
    for (const std::uint32_t function : {0xbU, 0x1fU}) {
        const auto cpuid = vcpu_cpuid(supported(), 2, 6);
        const auto& thread = find(cpuid, function, 0);
        EXPECT_EQ(thread.eax, 0U);  // no bit of the id names a thread
        EXPECT_EQ(thread.ebx, 1U);
        EXPECT_EQ(bits(thread.ecx, 8, 8), 1U);
        const auto& core = find(cpuid, function, 1);
        EXPECT_EQ(core.eax, 3U);  // ids 0 to 5 take three bits
        EXPECT_EQ(core.ebx, 6U);
        EXPECT_EQ(bits(core.ecx, 8, 8), 2U);
        const auto& end = find(cpuid, function, 2);
        EXPECT_EQ(end.ebx, 0U);
        EXPECT_EQ(bits(end.ecx, 8, 8), 0U);
        for (std::uint32_t index = 0; index < 3; ++index) {
            const auto& entry = find(cpuid, function, index);
            EXPECT_EQ(entry.edx, 2U);
            EXPECT_EQ(bits(entry.ecx, 0, 8), index);
            EXPECT_EQ(entry.flags, std::uint32_t{KVM_CPUID_FLAG_SIGNIFCANT_INDEX});
        }
    }
}

TEST(Cpuid, NamesNoTopologyLeafThatTheHostLacks) {
    auto host = supported();
    std::erase_if(host, [](const auto& entry) { return entry.function == 0x1f; });
    const auto cpuid = vcpu_cpuid(host, 0, 2);
    EXPECT_TRUE(std::none_of(cpuid.begin(), cpuid.end(),
                             [](const auto& entry) { return entry.function == 0x1f; }));
    EXPECT_EQ(find(cpuid, 0xb, 1).ebx, 2U);
}

TEST(Cpuid, CachesUpToTheSecondLevelBelongToACoreAndTheThirdToAll) {
    const auto cpuid = vcpu_cpuid(supported(), 0, 6);
    for (std::uint32_t index = 0; index < 3; ++index) {
        EXPECT_EQ(bits(find(cpuid, 4, index).eax, 14, 12), 0U) << index;
    }
    EXPECT_EQ(bits(find(cpuid, 4, 3).eax, 14, 12), 7U);
    for (std::uint32_t index = 0; index < 4; ++index) {
        EXPECT_EQ(bits(find(cpuid, 4, index).eax, 26, 6), 7U) << index;
    }
    EXPECT_EQ(bits(find(cpuid, 4, 3).eax, 5, 3), 3U);
}

TEST(Cpuid, CacheLeavesHoldForTheMostVcpus) {
    const auto cpuid = vcpu_cpuid(supported(), 63, 64);
    EXPECT_EQ(bits(find(cpuid, 4, 3).eax, 26, 6), 63U);
    EXPECT_EQ(bits(find(cpuid, 4, 3).eax, 14, 12), 63U);
    EXPECT_EQ(bits(find(cpuid, 1).ebx, 16, 8), 64U);
    EXPECT_EQ(bits(find(cpuid, 1).ebx, 24, 8), 63U);
}

TEST(Cpuid, AmdLeavesTellTheSame) {
    const auto cpuid = vcpu_cpuid(supported(), 5, 6);
    EXPECT_EQ(bits(find(cpuid, 0x8000'0008).ecx, 0, 8), 5U);
    EXPECT_EQ(bits(find(cpuid, 0x8000'0008).ecx, 12, 4), 3U);
    EXPECT_EQ(bits(find(cpuid, 0x8000'0008).ecx, 16, 16), 0xffffU);
    EXPECT_EQ(find(cpuid, 0x8000'001e).eax, 5U);
    EXPECT_EQ(bits(find(cpuid, 0x8000'001e).ebx, 0, 16), 5U);
    EXPECT_EQ(find(cpuid, 0x8000'001e).ecx, 0U);
}

TEST(Cpuid, KnowsTheBitsOfAPhysicalAddress) {
    EXPECT_EQ(physical_address_bits(supported()), 0x28U);
    EXPECT_EQ(physical_address_bits({}), 36U);
}

}  // namespace
}  // namespace viaduct::x86
