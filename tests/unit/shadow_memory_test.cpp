// Where the slow path's own rings lie, and what they have room for.
#include "vdpa/datapath/shadow_memory.hpp"

#include <array>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"

namespace viaduct::datapath {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

constexpr std::uint64_t gib = std::uint64_t{1} << 30U;
constexpr std::array<std::uint16_t, 1> one_queue{256};

/// Guest memory that nobody looks into.
class Guest {
public:
    void add(std::uint64_t first, std::uint64_t bytes) {
        space_.map({Iova{first}, {memory_.data(), bytes}});
    }
    [[nodiscard]] const AddressSpace& space() const { return space_; }

private:
    // Of a mapping that long nothing is touched.
    Mapping mapping_{"addresses", 8 * gib, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE};
    std::span<std::byte> memory_ = mapping_.bytes();
    AddressSpace space_;
};

MemoryRegion window(const vdpa::IovaRange& range, const Guest& guest) {
    return ShadowMemory(one_queue, range, guest.space()).region();
}

vdpa::IovaRange range(std::uint64_t first, std::uint64_t last) {
    return {Iova{first}, Iova{last}};
}

TEST(ShadowMemory, LiesAtTheTopOfTheDevicesRange) {
    Guest guest;
    guest.add(0, gib);
    EXPECT_EQ(window(range(0, 4 * gib - 1), guest).end(), 4 * gib);
    EXPECT_EQ(window(range(0, (std::uint64_t{1} << 39U) - 1), guest).end(),
              std::uint64_t{1} << 39U);
    // The last page is not whole.
    EXPECT_EQ(window(range(0, 4 * gib - 2), guest).end(), 4 * gib - 4096);
}

TEST(ShadowMemory, LiesBelowWhatSomeIommusDoNotTranslate) {
    Guest guest;
    guest.add(0, gib);
    for (const std::uint64_t last :
         {~std::uint64_t{0}, std::uint64_t{1} << 47U, (std::uint64_t{1} << 47U) - 1}) {
        EXPECT_EQ(window(range(0, last), guest).end(), std::uint64_t{1} << 47U);
    }
}

TEST(ShadowMemory, LiesBelowGuestMemoryThatIsAtTheTop) {
    Guest guest;
    guest.add(0, gib);
    guest.add(3 * gib, gib);
    EXPECT_EQ(window(range(0, 4 * gib - 1), guest).end(), 3 * gib);
}

TEST(ShadowMemory, LiesInAHoleThatIsWideEnough) {
    Guest guest;
    guest.add(0, gib);
    guest.add(2 * gib, gib);
    // Too narrow for it.
    guest.add(3 * gib + 4096, gib);
    EXPECT_EQ(window(range(0, 4 * gib - 1), guest).end(), 2 * gib);
}

TEST(ShadowMemory, LiesInARangeThatHasNoGuestMemory) {
    Guest guest;
    guest.add(0, gib);
    const auto above = window(range(2 * gib, 3 * gib - 1), guest);
    EXPECT_EQ(above.end(), 3 * gib);
    EXPECT_GE(above.iova.value, 2 * gib);
    Guest high;
    high.add(6 * gib, gib);
    EXPECT_EQ(window(range(2 * gib, 3 * gib - 1), high).end(), 3 * gib);
}

TEST(ShadowMemory, WithoutRoomSaysWhatToDo) {
    Guest guest;
    guest.add(gib, gib);
    const auto without_room = [&](std::uint64_t first, std::uint64_t last) {
        EXPECT_THAT([&] { (void)window(range(first, last), guest); },
                    ThrowsMessage<Error>(AllOf(HasSubstr("leaves no"), HasSubstr("KiB"),
                                               HasSubstr("datapath=fast-only"))));
    };
    without_room(gib, 2 * gib - 1);
    without_room(gib - 4096, 2 * gib + 4095);
    without_room(4 * gib, 4 * gib + 4095);
    without_room(0, 0);
}

TEST(ShadowMemory, HasRoomForEachQueueOfItsOwn) {
    Guest guest;
    guest.add(0, gib);
    constexpr std::array<std::uint16_t, 3> queues{256, 2, 1024};
    ShadowMemory memory(queues, range(0, 4 * gib - 1), guest.space());
    std::uint64_t before = memory.region().iova.value;
    for (unsigned queue = 0; queue < queues.size(); ++queue) {
        const ShadowQueue laid = memory.lay_out(queue, queues.at(queue));
        EXPECT_EQ(laid.setup.size, queues.at(queue));
        EXPECT_GE(laid.setup.descriptors.value, before);
        EXPECT_EQ(laid.setup.descriptors.value % 16, 0U);
        EXPECT_EQ(laid.setup.driver_area.value % 2, 0U);
        EXPECT_EQ(laid.setup.device_area.value % 4, 0U);
        EXPECT_EQ(laid.small.count(), queues.at(queue));
        EXPECT_EQ(laid.longest_chain(), std::max<std::uint16_t>(queues.at(queue), 256));
        before = laid.large.iova.value + laid.large.bytes.size();
        EXPECT_LE(before, memory.region().end());
    }
}

TEST(ShadowMemory, BeginsAnewEachTimeItIsLaidOut) {
    Guest guest;
    guest.add(0, gib);
    ShadowMemory memory(one_queue, range(0, 4 * gib - 1), guest.space());
    const ShadowQueue used = memory.lay_out(0, 256);
    used.ring.used_idx().store(7);
    used.ring.avail_flags().store(1);
    used.ring.used_event().store(9);
    const ShadowQueue again = memory.lay_out(0, 256);
    EXPECT_EQ(again.ring.used_idx().load(), 0);
    EXPECT_EQ(again.ring.avail_flags().load(), 0);
    EXPECT_EQ(again.ring.used_event().load(), 0);
    EXPECT_EQ(memory.lay_out(0, 64).setup.size, 64);
}

}  // namespace
}  // namespace viaduct::datapath
