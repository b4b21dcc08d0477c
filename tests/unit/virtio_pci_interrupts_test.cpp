/// How the function interrupts: MSI-X, INTx, the change between them, configuration changes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/virtio_pci_world.hpp"

namespace viaduct::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
namespace bits = virtio::status;

class VirtioPciInterrupts : public testing::Test {
public:
    void use(unsigned queue) const { world.device.guest_call(queue).signal(); }
    void change_config() const { world.device.config_call().signal(); }
    bool line() {
        world.settle();
        return world.line.high;
    }
    std::uint64_t isr() const { return world.read(world.isr, 1); }
    bool status_bit() const { return (world.get(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT) != 0; }
    void set_queue_vector(unsigned queue, std::uint16_t vector) const {
        world.select(queue);
        world.write(world.common + VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
    }
    std::uint64_t queue_vector(unsigned queue) const {
        world.select(queue);
        return world.read(world.common + VIRTIO_PCI_COMMON_Q_MSIX, 2);
    }

    World world;
};

TEST_F(VirtioPciInterrupts, EachQueueHasItsMsixVectorAndTheVmmRunsNothing) {
    world.run_with_msix();
    EXPECT_EQ(world.router.attached(), 2U);
    use(1);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x42));
    use(0);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x41));
    EXPECT_EQ(isr(), 0U);
    EXPECT_FALSE(line());
}

TEST_F(VirtioPciInterrupts, MsixVectorMaskedThenUnmaskedWithAnInterruptPendingIsDeliveredOnce) {
    world.run_with_msix();
    world.set_vector(1, true);
    use(0);
    use(0);
    EXPECT_THAT(world.interrupts(), IsEmpty());
    EXPECT_EQ(world.read(world.pba, 8), 1U << 1);
    world.set_vector(1, false);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x41));
    EXPECT_EQ(world.read(world.pba, 8), 0U);
    EXPECT_THAT(world.interrupts(), IsEmpty());
}

TEST_F(VirtioPciInterrupts, AVectorThatTheTableLacksReadsBackAsNone) {
    set_queue_vector(0, 2);
    EXPECT_EQ(queue_vector(0), 2U);
    set_queue_vector(0, 3);
    EXPECT_EQ(queue_vector(0), World::no_vector);
    world.write(world.common + VIRTIO_PCI_COMMON_MSIX, 2, 3);
    EXPECT_EQ(world.read(world.common + VIRTIO_PCI_COMMON_MSIX, 2), World::no_vector);
    world.write(world.common + VIRTIO_PCI_COMMON_MSIX, 2, 1);
    EXPECT_EQ(world.read(world.common + VIRTIO_PCI_COMMON_MSIX, 2), 1U);
}

TEST_F(VirtioPciInterrupts, TwoQueuesMayShareAVector) {
    world.enable_msix();
    world.negotiate();
    world.set_up_queue(0, 2);
    world.set_up_queue(1, 2);
    world.driver_ok();
    use(0);
    use(1);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x42, 0x42));
}

TEST_F(VirtioPciInterrupts, AQueuesVectorMayChangeWhileItRuns) {
    world.run_with_msix();
    set_queue_vector(0, 2);
    use(0);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x42));
    set_queue_vector(0, World::no_vector);
    use(0);
    EXPECT_THAT(world.interrupts(), IsEmpty()) << "a guest that polls is not interrupted";
    set_queue_vector(0, 1);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x41)) << "what happened meanwhile is not lost";
}

TEST_F(VirtioPciInterrupts, AGuestThatPollsGetsNoInterrupt) {
    world.enable_msix();
    world.negotiate();
    world.set_up_queue(0);
    world.driver_ok();
    use(0);
    EXPECT_THAT(world.interrupts(), IsEmpty());
    EXPECT_FALSE(line());
    EXPECT_EQ(world.router.attached(), 0U);
}

TEST_F(VirtioPciInterrupts, GuestWithoutMsixGetsIntx) {
    world.run_with_intx();
    EXPECT_FALSE(line());
    use(1);
    EXPECT_TRUE(line());
    EXPECT_TRUE(status_bit());
    EXPECT_EQ(isr(), 1U);
    EXPECT_FALSE(world.line.high) << "reading ISR lowers the line";
    EXPECT_FALSE(status_bit());
    EXPECT_EQ(isr(), 0U);
    use(0);
    EXPECT_TRUE(line()) << "the next one raises it again";
    EXPECT_THAT(world.interrupts(), IsEmpty());
}

TEST_F(VirtioPciInterrupts, OnlyTheFirstByteOfIsrIsThere) {
    world.run_with_intx();
    use(0);
    EXPECT_TRUE(line());
    EXPECT_EQ(world.read(world.isr + 1, 4), 0U);
    EXPECT_TRUE(line());
    EXPECT_EQ(world.read(world.isr, 8), 1U);
    EXPECT_FALSE(line());
}

TEST_F(VirtioPciInterrupts, InterruptDisableKeepsTheLineLowAndTheStatusBitSet) {
    world.run_with_intx();
    world.put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
    use(0);
    EXPECT_FALSE(line());
    EXPECT_TRUE(status_bit());
    world.put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    EXPECT_TRUE(world.line.high);
    world.put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
    EXPECT_FALSE(world.line.high);
    EXPECT_EQ(isr(), 1U);
}

TEST_F(VirtioPciInterrupts, ReadingStatusByteByByteShowsTheInterruptBit) {
    world.run_with_intx();
    use(0);
    EXPECT_TRUE(line());
    EXPECT_EQ(world.get(PCI_STATUS, 1) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT + 0U);
    EXPECT_EQ(world.get(PCI_COMMAND, 4) >> 16 & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT + 0U);
    EXPECT_EQ(world.get(PCI_STATUS + 1, 1) & PCI_STATUS_INTERRUPT, 0U);
}

TEST_F(VirtioPciInterrupts, ChangingFromIntxToMsixLosesNothing) {
    world.run_with_intx();
    set_queue_vector(0, 1);
    set_queue_vector(1, 2);
    world.enable_msix();
    world.interrupts();
    world.set_msix(false);
    use(0);
    EXPECT_TRUE(line());
    world.set_msix(true);
    EXPECT_FALSE(world.line.high) << "INTx is silent while MSI-X is enabled";
    EXPECT_THAT(world.interrupts(), testing::Contains(0x41U)) << "the guest never read ISR";
    EXPECT_EQ(isr(), 0U);
    use(1);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x42));
}

TEST_F(VirtioPciInterrupts, ChangingFromMsixToIntxLosesNothing) {
    world.run_with_msix();
    world.set_msix(true, true);
    use(0);
    EXPECT_THAT(world.interrupts(), IsEmpty());
    world.set_msix(false);
    EXPECT_TRUE(line()) << "the interrupt held by the mask comes by INTx";
    EXPECT_EQ(isr(), 1U);
    EXPECT_EQ(world.router.attached(), 0U);
    use(1);
    EXPECT_TRUE(line());
}

TEST_F(VirtioPciInterrupts, EveryEventSurvivesAGuestThatKeepsChangingTheMode) {
    world.run_with_msix();
    for (unsigned i = 0; i < 100; ++i) {
        use(0);
        world.set_msix(i % 2 != 0);
        const bool by_vector = !world.interrupts().empty();
        const bool by_line = line() && isr() != 0;
        EXPECT_TRUE(by_vector || by_line) << "round " << i;
    }
}

TEST_F(VirtioPciInterrupts, AConfigurationChangeCountsTheGenerationAndInterrupts) {
    world.run_with_msix();
    const auto before = world.transport->snapshot().config_generation;
    change_config();
    EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
    EXPECT_EQ(world.transport->snapshot().config_generation, before + 1);
    EXPECT_EQ(world.read(world.common + VIRTIO_PCI_COMMON_CFGGENERATION, 1), before + 1U);
    EXPECT_EQ(isr(), 2U) << "4.1.4.5: the bit is set with MSI-X too";
    EXPECT_FALSE(line());
}

TEST_F(VirtioPciInterrupts, AConfigurationChangeComesByIntxWithoutMsix) {
    world.run_with_intx();
    change_config();
    EXPECT_TRUE(line());
    use(0);
    world.settle();
    EXPECT_EQ(isr(), 3U);
    EXPECT_FALSE(line());
}

TEST_F(VirtioPciInterrupts, AConfigurationChangeOnAMaskedVectorWaits) {
    world.run_with_msix();
    world.set_vector(0, true);
    change_config();
    EXPECT_THAT(world.interrupts(), IsEmpty());
    EXPECT_EQ(world.read(world.pba, 8), 1U);
    world.set_vector(0, false);
    EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
}

TEST_F(VirtioPciInterrupts, AConfigurationChangeBeforeDriverOkIsToldAtDriverOk) {
    world.enable_msix();
    world.negotiate();
    world.write(world.common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
    change_config();
    EXPECT_THAT(world.interrupts(), IsEmpty());
    world.driver_ok();
    EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
    world.run_with_msix();
    EXPECT_THAT(world.interrupts(), IsEmpty()) << "told again after a reset";
}

TEST_F(VirtioPciInterrupts, AnUnreadConfigurationChangeFollowsIntoMsix) {
    world.run_with_intx();
    change_config();
    EXPECT_TRUE(line());
    world.write(world.common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
    world.enable_msix();
    EXPECT_FALSE(line());
    EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
}

TEST_F(VirtioPciInterrupts, ADeviceThatBreaksSaysNeedsResetAndInterrupts) {
    world.run_with_msix();
    world.device.broken = true;
    change_config();
    EXPECT_THAT(world.interrupts(), ElementsAre(0x40));
    EXPECT_NE(world.status() & bits::needs_reset, 0);
    world.run_with_msix();
    EXPECT_EQ(world.status() & bits::needs_reset, 0);
}

TEST_F(VirtioPciInterrupts, AResetLowersTheLineAndForgetsWhatWasUnread) {
    world.run_with_intx();
    use(0);
    change_config();
    EXPECT_TRUE(line());
    world.set_status(0);
    EXPECT_FALSE(world.line.high);
    EXPECT_EQ(isr(), 0U);
    use(0);
    EXPECT_FALSE(line()) << "nobody listens to a queue that does not run";
}

TEST_F(VirtioPciInterrupts, TheFunctionLeavesNothingBehindWhenItGoes) {
    world.run_with_msix();
    use(0);
    world.transport.reset();
    EXPECT_EQ(world.router.attached(), 0U);
    EXPECT_EQ(world.router.live_routes(), 0U);
    EXPECT_EQ(world.doorbells.eventfds(), 0U);
    EXPECT_EQ(world.read(World::registers_at, 4), 0xffffffffU);
    EXPECT_EQ(world.read(World::notify_at, 4), 0xffffffffU);
    change_config();
    use(1);
    world.settle();
    EXPECT_TRUE(world.device.config_call().pending());
    EXPECT_TRUE(world.device.guest_call(1).pending());
}

TEST_F(VirtioPciInterrupts, AFunctionInIntxModeLeavesALowLineWhenItGoes) {
    world.run_with_intx();
    use(0);
    EXPECT_TRUE(line());
    world.transport.reset();
    EXPECT_FALSE(world.line.high);
    use(0);
    world.settle();
    EXPECT_TRUE(world.device.guest_call(0).pending());
}

}  // namespace
}  // namespace viaduct::test
