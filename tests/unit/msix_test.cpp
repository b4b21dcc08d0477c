#include "devices/pci/msix.hpp"

#include <linux/pci_regs.h>

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/unit/virtio_pci_fakes.hpp"

namespace viaduct::pci {
namespace {

using Messages = std::vector<devices::MsiMessage>;

class MsixTest : public testing::Test {
public:
    static constexpr unsigned vectors = 3;

    static devices::MsiMessage message(unsigned vector) {
        return {0xfee0'0000'1000 + vector * 0x1000ULL, 0x40 + vector};
    }
    std::uint64_t read(std::uint64_t offset, unsigned width = 4) {
        std::uint64_t value = 0;
        msix.read(offset, std::as_writable_bytes(std::span(&value, 1)).first(width));
        return value;
    }
    void write(std::uint64_t offset, std::uint64_t value, unsigned width = 4) {
        msix.write(offset, std::as_bytes(std::span(&value, 1)).first(width));
    }
    void set_message(unsigned vector) {
        write(16ULL * vector, message(vector).address, 8);
        write(16ULL * vector + 8, message(vector).data);
    }
    void mask(unsigned vector, bool masked) { write(16ULL * vector + 12, masked ? 1 : 0); }
    bool pending(unsigned vector) { return (read(msix.pba_offset()) >> vector & 1) != 0; }
    void enable() { msix.set_control(true, false); }
    /// Enabled, vector unmasked, `source` on it.
    void run(unsigned vector) {
        set_message(vector);
        mask(vector, false);
        msix.bind(vector, source);
        enable();
    }

    test::FakeRouter router;
    EventFd source;
    EventFd other;
    Msix msix{router, Bdf::of_slot(3), vectors};
};

TEST_F(MsixTest, VectorsStartMaskedAndWithoutARoute) {
    for (unsigned vector = 0; vector < vectors; ++vector) {
        EXPECT_EQ(read(16ULL * vector + 12), 1U);
        msix.bind(vector, source);
        msix.unbind(vector, source);
    }
    enable();
    EXPECT_EQ(router.routes_made, 0U);
}

TEST_F(MsixTest, SendsASourcesEventsWithoutTheVmmWhileUnmasked) {
    run(1);
    EXPECT_EQ(router.attached(), 1U);
    EXPECT_EQ(router.routes_made, 1U);
    EXPECT_EQ(router.last_bdf, 3 << 3);
    source.signal();
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
    EXPECT_FALSE(pending(1));
}

TEST_F(MsixTest, VectorMaskedThenUnmaskedWithAnInterruptPendingIsDeliveredOnce) {
    run(1);
    mask(1, true);
    EXPECT_EQ(router.attached(), 0U);
    source.signal();
    source.signal();
    EXPECT_EQ(router.take_sent(), Messages{});
    EXPECT_TRUE(pending(1));
    EXPECT_FALSE(pending(0));
    mask(1, false);
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
    EXPECT_FALSE(pending(1));
    mask(1, true);
    mask(1, false);
    EXPECT_EQ(router.take_sent(), Messages{}) << "it was delivered a second time";
}

TEST_F(MsixTest, SeveralPendingSourcesOfOneVectorAreDeliveredOnce) {
    run(1);
    msix.bind(1, other);
    mask(1, true);
    source.signal();
    other.signal();
    msix.signal(1);
    mask(1, false);
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
    EXPECT_EQ(router.attached(), 2U);
    source.signal();
    other.signal();
    EXPECT_EQ(router.take_sent(), (Messages{message(1), message(1)}));
}

TEST_F(MsixTest, FunctionMaskHoldsEveryVectorBack) {
    run(1);
    msix.set_control(true, true);
    EXPECT_EQ(router.attached(), 0U);
    source.signal();
    EXPECT_TRUE(pending(1));
    mask(1, true);
    msix.set_control(true, false);
    EXPECT_EQ(router.take_sent(), Messages{}) << "the vector's own mask was forgotten";
    mask(1, false);
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
}

TEST_F(MsixTest, NothingIsSentWhileDisabled) {
    run(1);
    msix.set_control(false, false);
    EXPECT_EQ(router.attached(), 0U);
    msix.signal(1);
    EXPECT_FALSE(pending(1)) << "an interrupt raised while MSI-X is off is not MSI-X's";
    source.signal();
    EXPECT_EQ(router.take_sent(), Messages{});
    enable();
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
}

TEST_F(MsixTest, SignalsOfTheVmmWaitInThePendingBitWhileMasked) {
    set_message(2);
    enable();
    msix.signal(2);
    EXPECT_TRUE(pending(2));
    mask(2, false);
    EXPECT_EQ(router.take_sent(), Messages{message(2)});
    EXPECT_FALSE(pending(2));
    msix.signal(2);
    EXPECT_EQ(router.take_sent(), Messages{message(2)});
}

TEST_F(MsixTest, AMessageChangedWhileUnmaskedTakesEffectAtOnce) {
    run(1);
    write(16 + 8, 0x99);
    source.signal();
    EXPECT_EQ(router.take_sent(), (Messages{{message(1).address, 0x99}}));
    write(16 + 4, 0x1);
    write(16 + 0, 0xfee01003);
    source.signal();
    EXPECT_EQ(router.take_sent(), (Messages{{0x1'fee01000, 0x99}}));
}

TEST_F(MsixTest, AMessageChangedWhileMaskedIsTheOneThatIsSent) {
    run(1);
    mask(1, true);
    source.signal();
    write(16 + 8, 0x77);
    mask(1, false);
    EXPECT_EQ(router.take_sent(), (Messages{{message(1).address, 0x77}}));
}

TEST_F(MsixTest, MaskingAndUnmaskingCostsNoNewRoute) {
    run(1);
    const unsigned updates = router.updates;
    for (int i = 0; i < 5; ++i) {
        mask(1, true);
        mask(1, false);
    }
    EXPECT_EQ(router.updates, updates);
    EXPECT_EQ(router.routes_made, 1U);
}

TEST_F(MsixTest, ASourceBoundWhileUnmaskedDeliversWhatItHeld) {
    run(1);
    other.signal();
    msix.bind(1, other);
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
}

TEST_F(MsixTest, AnUnboundSourceKeepsItsEvents) {
    run(1);
    msix.unbind(1, source);
    source.signal();
    EXPECT_EQ(router.take_sent(), Messages{});
    EXPECT_TRUE(source.pending());
    EXPECT_FALSE(pending(1));
}

TEST_F(MsixTest, MovesASourceFromOneVectorToAnother) {
    run(1);
    set_message(2);
    mask(2, false);
    mask(1, true);
    source.signal();
    msix.unbind(1, source);
    msix.bind(2, source);
    EXPECT_EQ(router.take_sent(), Messages{message(2)});
    mask(1, false);
    EXPECT_EQ(router.take_sent(), Messages{});
}

TEST_F(MsixTest, IgnoresVectorsTheTableDoesNotHave) {
    enable();
    msix.bind(vectors, source);
    msix.bind(0xffff, source);
    msix.signal(0xffff);
    msix.unbind(0xffff, source);
    EXPECT_EQ(router.attached(), 0U);
}

TEST_F(MsixTest, ThePendingBitsAreReadOnly) {
    enable();
    msix.signal(0);
    write(msix.pba_offset(), 0, 8);
    EXPECT_TRUE(pending(0));
    write(msix.pba_offset(), 0xff, 8);
    EXPECT_EQ(read(msix.pba_offset(), 8), 1U);
}

TEST_F(MsixTest, TheTableIsReadInAnyWidthAndWrittenIn4And8Bytes) {
    set_message(1);
    EXPECT_EQ(read(16, 8), message(1).address);
    EXPECT_EQ(read(16 + 8, 8), 0x1'0000'0041U);
    EXPECT_EQ(read(16 + 8, 1), 0x41U);
    write(16 + 8, 0, 1);
    write(16 + 8, 0, 2);
    write(16 + 6, 0, 4);
    write(16 + 4, 0, 8);
    EXPECT_EQ(read(16, 8), message(1).address);
    EXPECT_EQ(read(16 + 8), message(1).data);
    write(16 + 12, 0xffff'fffe);
    EXPECT_EQ(read(16 + 12), 0U) << "reserved bits of the vector control read 0";
    write(0, 0xffff'ffff);
    EXPECT_EQ(read(0), 0xffff'fffcU) << "a message's address is one of a dword";
}

TEST_F(MsixTest, SurvivesEveryOffsetAndWidth) {
    run(1);
    for (std::uint64_t offset = 0; offset < msix.size() + 16; ++offset) {
        for (const unsigned width : {1U, 2U, 4U, 8U}) {
            for (const std::uint64_t value : {std::uint64_t{0}, ~std::uint64_t{0}}) {
                write(offset, value, width);
                (void)read(offset, width);
            }
        }
    }
    EXPECT_EQ(read(16ULL * vectors), 0U) << "behind the last entry there is nothing";
}

TEST_F(MsixTest, AVectorWithoutARouteKeepsItsInterruptsPending) {
    const test::QuietLog quiet;
    router.out_of_routes = true;
    run(1);
    source.signal();
    msix.signal(1);
    EXPECT_TRUE(pending(1));
    router.out_of_routes = false;
    mask(1, true);
    mask(1, false);
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
}

TEST_F(MsixTest, ResetMasksAllAndForgetsWhatWasPending) {
    run(1);
    mask(1, true);
    msix.signal(1);
    msix.reset();
    EXPECT_EQ(router.attached(), 0U);
    EXPECT_EQ(read(16 + 12), 1U);
    EXPECT_EQ(read(16, 8), 0U);
    EXPECT_FALSE(pending(1));
}

TEST_F(MsixTest, TakesItsSourcesOffWhenItGoes) {
    {
        Msix passing(router, Bdf::of_slot(1), 1);
        const std::uint32_t unmasked = 0;
        passing.write(12, std::as_bytes(std::span(&unmasked, 1)));
        passing.bind(0, source);
        passing.set_control(true, false);
        EXPECT_EQ(router.attached(), 1U);
    }
    EXPECT_EQ(router.attached(), 0U);
    EXPECT_EQ(router.live_routes(), 0U);
}

TEST_F(MsixTest, CarriesPendingInterruptsIntoItsState) {
    run(1);
    set_message(2);
    mask(1, true);
    source.signal();
    msix.signal(2);
    const Msix::State state = msix.save();
    EXPECT_EQ(state.entries[1], (Msix::State::Entry{message(1), true, true}));
    EXPECT_EQ(state.entries[2], (Msix::State::Entry{message(2), true, true}));

    test::FakeRouter elsewhere;
    Msix loaded(elsewhere, Bdf::of_slot(3), vectors);
    loaded.load(state);
    EXPECT_EQ(loaded.save(), state);
    const std::uint32_t unmasked = 0;
    loaded.write(16 + 12, std::as_bytes(std::span(&unmasked, 1)));
    EXPECT_EQ(elsewhere.take_sent(), Messages{message(1)});
}

TEST_F(MsixTest, RefusesAStateThatIsNotItsOwn) {
    Msix::State state = msix.save();
    state.version = 2;
    EXPECT_THROW(msix.load(state), Error);
    state = msix.save();
    state.entries.pop_back();
    EXPECT_THROW(msix.load(state), Error);
}

TEST_F(MsixTest, DescribesItselfInACapability) {
    ConfigSpace config(Identity{});
    const auto at = msix.add_capability(config, 4, 0x2000);
    EXPECT_EQ(config.value(at, 1), PCI_CAP_ID_MSIX);
    const auto field = [&](unsigned offset, std::uint8_t width) {
        return config.value(static_cast<std::uint16_t>(at + offset), width);
    };
    EXPECT_EQ(field(PCI_MSIX_FLAGS, 2), vectors - 1);
    EXPECT_EQ(field(PCI_MSIX_TABLE, 4), 0x2004U);
    EXPECT_EQ(field(PCI_MSIX_PBA, 4), 0x3004U);
    const std::uint16_t ones = 0xffff;
    config.write(static_cast<std::uint16_t>(at + PCI_MSIX_FLAGS),
                 std::as_bytes(std::span(&ones, 1)));
    EXPECT_EQ(field(PCI_MSIX_FLAGS, 2), 0xc000U | (vectors - 1));
}

TEST(Msix, HasNoMoreVectorsThanPciAllows) {
    test::FakeRouter router;
    EXPECT_EQ(Msix(router, Bdf{}, 70000).vectors(), 2048U);
    EXPECT_EQ(Msix(router, Bdf{}, 70000).pba_offset(), 0x8000U);
    EXPECT_EQ(Msix(router, Bdf{}, 70000).size(), 0x9000U);
}

TEST_F(MsixTest, LosesNothingWhenMaskedAndSignalledFromTwoThreads) {
    run(1);
    constexpr unsigned rounds = 2000;
    std::thread signaller([&] {
        for (unsigned i = 0; i < rounds; ++i) {
            msix.signal(1);
            source.signal();
            router.deliver();
        }
    });
    for (unsigned i = 0; i < rounds; ++i) {
        mask(1, true);
        (void)pending(1);
        mask(1, false);
    }
    signaller.join();
    EXPECT_FALSE(router.take_sent().empty());
    EXPECT_FALSE(pending(1));
    source.signal();
    EXPECT_EQ(router.take_sent(), Messages{message(1)});
}

}  // namespace
}  // namespace viaduct::pci
