#include "vdpa/export/lent_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <optional>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "base/mapping.hpp"
#include "tests/unit/soft_disk.hpp"

namespace viaduct::vduse {
namespace {

constexpr std::size_t page = 4096;
constexpr std::byte theirs{0xaa};

/// Three pages in a file that another could cut short.
class Lent : public testing::Test {
protected:
    Lent() {
        if (!file_ || ::ftruncate(file_.get(), 3 * page) != 0) throw SystemError("memfd");
        memory_ = Mapping("lent", 3 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get());
        std::ranges::fill(memory_.bytes(), theirs);
    }
    void cut_to(std::size_t bytes) const {
        ASSERT_EQ(::ftruncate(file_.get(), static_cast<off_t>(bytes)), 0);
    }
    /// As the compiler would not leave it out.
    [[nodiscard]] std::byte at(std::size_t offset) const {
        return std::atomic_ref(memory_.bytes()[offset]).load();
    }
    void put(std::size_t offset, std::byte value) const {
        std::atomic_ref(memory_.bytes()[offset]).store(value);
    }

    Fd file_{::memfd_create("lent", MFD_CLOEXEC)};
    Mapping memory_;
};

TEST_F(Lent, ReadsAsZerosWhereItsFileHasBecomeTooShort) {
    const LentMemory lent(memory_.bytes());
    cut_to(page);
    EXPECT_EQ(at(2 * page), std::byte{0});
    EXPECT_EQ(at(page + 100), std::byte{0});
    EXPECT_EQ(at(0), theirs) << "what is left of it is still theirs";
}

TEST_F(Lent, TakesWritesWhereItsFileHasBecomeTooShort) {
    const LentMemory lent(memory_.bytes());
    cut_to(0);
    put(page, std::byte{1});
    EXPECT_EQ(at(page), std::byte{1});
    EXPECT_EQ(at(page + 1), std::byte{0});
}

TEST_F(Lent, OtherMemoryEndsTheProgramAsEver) {
    const LentMemory lent(memory_.bytes().first(page));
    cut_to(0);
    EXPECT_DEATH((void)at(page), "");
}

TEST_F(Lent, MemoryThatIsLentNoLongerEndsTheProgramAsEver) {
    std::optional<LentMemory> lent(memory_.bytes());
    lent.reset();
    cut_to(0);
    EXPECT_DEATH((void)at(0), "");
}

TEST_F(Lent, ASignalThatSomebodySendsEndsTheProgramAsEver) {
    const LentMemory lent(memory_.bytes());
    EXPECT_DEATH(::raise(SIGBUS), "");
}

TEST_F(Lent, CanBeMany) {
    std::vector<LentMemory> lent;
    EXPECT_THROW(while (true) lent.emplace_back(memory_.bytes().subspan(page, page)), Error);
    lent.clear();
    const LentMemory again(memory_.bytes());
    cut_to(0);
    EXPECT_EQ(at(0), std::byte{0});
}

/// A disk whose driver cuts its memory short with a request under way: the disk lives, and serves
/// the next driver.
TEST(LentDisk, LivesWhenItsDriversMemoryIsGone) {
    const test::TemporaryImage image("/dev/shm");
    soft::SoftDeviceOptions options;
    options.image = image.path();
    test::SoftDisk disk(options);
    const LentMemory lent(disk.memory().region().bytes);
    disk.start();
    ASSERT_EQ(disk.flush(), VIRTIO_BLK_S_OK);
    disk.driver().add(std::array{test::Buffer{disk.put_header(VIRTIO_BLK_T_FLUSH, 0), 16, false},
                                 test::Buffer{disk.put_status(), 1, true}});
    disk.driver().publish();
    ASSERT_EQ(::ftruncate(disk.memory().fd(), 0), 0);
    disk.driver().kick();
    EXPECT_TRUE(test::eventually([&] {
        return (disk.device().status() & virtio::status::needs_reset) != 0;
    })) << "an index of 0 is a jump";
    disk.device().reset();
    EXPECT_EQ(disk.device().status(), 0);
}

}  // namespace
}  // namespace viaduct::vduse
