// A driver of our own on /dev/vhost-vdpa-N that puts nonsense into its rings and takes its memory
// away: viaduct-export's daemon says so in a line, and serves the next driver.
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/lab/exported_disk.hpp"
#include "tests/lab/lab_image.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/unit/soft_disk.hpp"
#include "vdpa/vhost/vdpa_device.hpp"

namespace viaduct::test {
namespace {

namespace flag = virtio::descriptor_flag;
using testing::HasSubstr;
using Disk = DrivenDisk<vhost::VdpaDevice>;

constexpr std::uint16_t ring_size = 16;
constexpr std::uint64_t nowhere = 0x10000000000;

class HostileDriver : public testing::Test {
protected:
    void TearDown() override {
        const Outcome stopped = exported_.stop();
        EXPECT_EQ(stopped.status, 0) << stopped.err;
        EXPECT_EQ(exported_.wait().status, 0);
    }

    /// A driver from its beginning: who opens the node resets the device.
    [[nodiscard]] std::unique_ptr<Disk> driver() const {
        return std::make_unique<Disk>(std::make_unique<vhost::VdpaDevice>(
                                          exported_.node(), vhost::open_node(exported_.node())),
                                      ring_size);
    }

    void expect_service() const {
        EXPECT_TRUE(exported_.lives());
        const auto disk = driver();
        disk->start();
        const Bytes content = random_bytes(4096, 7);
        EXPECT_EQ(disk->write(8, content), VIRTIO_BLK_S_OK);
        const Iova room = disk->memory().allocate(content.size());
        EXPECT_EQ(disk->run(0, VIRTIO_BLK_T_IN, 8, room, content.size()), VIRTIO_BLK_S_OK);
        EXPECT_EQ(disk->get(room, content.size()), content);
    }

    [[nodiscard]] auto lines() const {
        const std::string log = exported_.log();
        return std::count(log.begin(), log.end(), '\n');
    }
    /// What the attack does to a disk that runs ends its queue, and nothing else.
    void expect_stopped_queue(const std::function<void(Disk&)>& attack) const {
        const auto before = lines();
        {
            const auto disk = driver();
            disk->start();
            EXPECT_EQ(disk->flush(), VIRTIO_BLK_S_OK);
            attack(*disk);
            disk->driver().publish();
            disk->driver().kick();
            EXPECT_TRUE(eventually([&] { return lines() == before + 1; })) << exported_.log();
        }
        EXPECT_THAT(exported_.log(), HasSubstr("stops until the guest resets the device"));
        expect_service();
    }

    TemporaryDirectory directory_;
    ExportedDisk exported_{"disk0", make_image(directory_, "raw", 16)};
};

TEST_F(HostileDriver, WithAnAvailIndexThatJumps) {
    expect_stopped_queue([](Disk& disk) {
        for (unsigned i = 0; i <= ring_size; ++i) disk.driver().put_available(0);
    });
}

TEST_F(HostileDriver, WithAHeadOutsideTheTable) {
    expect_stopped_queue([](Disk& disk) { disk.driver().put_available(0xffff); });
}

TEST_F(HostileDriver, WithAChainThatLoops) {
    expect_stopped_queue([](Disk& disk) {
        const Iova header = disk.put_header(VIRTIO_BLK_T_IN, 0);
        disk.driver().set_descriptor(0, {header, 16, flag::next, 1});
        disk.driver().set_descriptor(1, {header, 16, flag::next, 0});
        disk.driver().put_available(0);
    });
}

TEST_F(HostileDriver, WithANextOutsideTheTable) {
    expect_stopped_queue([](Disk& disk) {
        disk.driver().set_descriptor(
            0, {disk.put_header(VIRTIO_BLK_T_IN, 0), 16, flag::next, ring_size});
        disk.driver().put_available(0);
    });
}

TEST_F(HostileDriver, WithAnIndirectTableInAnIndirectTable) {
    expect_stopped_queue([](Disk& disk) {
        const Iova table = disk.memory().allocate(sizeof(virtio::Descriptor), 16);
        disk.memory().store(table, virtio::Descriptor{table, 16, flag::indirect, 0});
        disk.driver().set_descriptor(0, {table, 16, flag::indirect, 0});
        disk.driver().put_available(0);
    });
}

TEST_F(HostileDriver, WithAStatusOutsideItsMemory) {
    expect_stopped_queue([](Disk& disk) {
        disk.driver().set_descriptor(0,
                                     {disk.put_header(VIRTIO_BLK_T_FLUSH, 0), 16, flag::next, 1});
        disk.driver().set_descriptor(1, {Iova{nowhere}, 1, flag::write, 0});
        disk.driver().put_available(0);
    });
}

TEST_F(HostileDriver, WithContentThatIsNotThere) {
    {
        const auto disk = driver();
        disk->start();
        EXPECT_EQ(disk->run(0, VIRTIO_BLK_T_IN, 0, Iova{nowhere}, 512), VIRTIO_BLK_S_IOERR);
        EXPECT_EQ(disk->run(0, VIRTIO_BLK_T_IN, 0, Iova{disk->memory().end().value - 512}, 4096),
                  VIRTIO_BLK_S_IOERR);
        EXPECT_EQ(disk->run(0, VIRTIO_BLK_T_OUT, 0, disk->memory().allocate(512), 0xffffffff),
                  VIRTIO_BLK_S_IOERR);
        EXPECT_EQ(disk->flush(), VIRTIO_BLK_S_OK);
    }
    EXPECT_EQ(exported_.log(), "");
    expect_service();
}

TEST_F(HostileDriver, WithRingsThatAreNotThere) {
    {
        const auto disk = driver();
        disk->negotiate(usual_features(disk->device(), true));
        disk->set_up_queues();
        disk->device().set_ring_addresses(0, {Iova{nowhere}, Iova{nowhere}, Iova{nowhere}});
        disk->go();
        EXPECT_TRUE(eventually([&] { return lines() == 1; })) << exported_.log();
    }
    EXPECT_THAT(exported_.log(), HasSubstr("rings do not lie in memory"));
    expect_service();
}

TEST_F(HostileDriver, WithMemoryThatBeginsAndEndsWithinHugePages) {
    std::ofstream("/proc/sys/vm/nr_hugepages") << 2;
    constexpr std::size_t page = std::size_t{2} << 20;
    const Fd file(::memfd_create("huge pages", MFD_CLOEXEC | MFD_HUGETLB));
    ASSERT_EQ(::ftruncate(file.get(), 2 * page), 0);
    const Mapping mapping("huge pages", 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file.get());
    const MemoryRegion region{Iova{nowhere}, mapping.bytes().subspan(page / 2, page)};
    {
        const auto disk = driver();
        disk->device().map(std::array{region});
        disk->start();
        const Bytes content = random_bytes(4096, 8);
        EXPECT_EQ(disk->write(8, content), VIRTIO_BLK_S_OK);
        for (const std::size_t offset : {std::size_t{0}, page - 4096}) {
            EXPECT_EQ(disk->run(0, VIRTIO_BLK_T_IN, 8, region.iova + offset, 4096),
                      VIRTIO_BLK_S_OK);
            EXPECT_TRUE(std::ranges::equal(region.bytes.subspan(offset, 4096), content));
        }
    }
    EXPECT_EQ(exported_.log(), "");
    expect_service();
    std::ofstream("/proc/sys/vm/nr_hugepages") << 0;
}

TEST_F(HostileDriver, ThatCutsItsMemoryShort) {
    {
        const auto disk = driver();
        disk->start();
        EXPECT_EQ(disk->flush(), VIRTIO_BLK_S_OK);
        ASSERT_EQ(::ftruncate(disk->memory().fd(), 0), 0);
        disk->driver().kick();
        EXPECT_TRUE(eventually([&] { return lines() >= 2; })) << exported_.log();
    }
    EXPECT_THAT(exported_.log(), HasSubstr("taken memory away"));
    expect_service();
}

}  // namespace
}  // namespace viaduct::test
