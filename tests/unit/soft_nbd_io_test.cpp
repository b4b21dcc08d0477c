/// Requests on the exports of real NBD servers: what is written is there, whatever the server can
/// do and whatever blocks it takes.
#include <algorithm>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>

#include "tests/unit/soft_nbd_world.hpp"

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::NbdServer;
using test::random_bytes;
using test::sector;
using test::SoftDisk;
using test::TemporaryImage;

constexpr std::uint8_t nbd_ok = VIRTIO_BLK_S_OK;
constexpr std::uint8_t nbd_error = VIRTIO_BLK_S_IOERR;

struct Export {
    const char* name;
    NbdServer::Kind kind;
    std::vector<std::string> arguments;  // before those of the file
    std::uint32_t block = 512;           // of the guest's disk
};

const std::vector<Export> exports{
    {"NbdkitFile", NbdServer::Kind::nbdkit, {}},
    {"NbdkitWithoutFua", NbdServer::Kind::nbdkit, {"--filter=fua"}},
    {"NbdkitWithoutZeroes", NbdServer::Kind::nbdkit, {"--filter=nozero"}},
    {"NbdkitInSmallPieces",
     NbdServer::Kind::nbdkit,
     {"--filter=blocksize-policy", "blocksize-maximum=64k", "blocksize-minimum=1",
      "blocksize-preferred=4096", "blocksize-error-policy=error"}},
    {"NbdkitInSectors",
     NbdServer::Kind::nbdkit,
     {"--filter=blocksize-policy", "blocksize-minimum=512", "blocksize-preferred=4096",
      "blocksize-maximum=64k", "blocksize-error-policy=error"}},
    {"NbdkitInPages",
     NbdServer::Kind::nbdkit,
     {"--filter=blocksize-policy", "blocksize-minimum=4096", "blocksize-preferred=4096",
      "blocksize-maximum=1M", "blocksize-error-policy=error"},
     4096},
    {"QemuRaw",
     NbdServer::Kind::qemu,
     {"--persistent", "--shared=4", "--format=raw", "--discard=unmap"}},
};

void PrintTo(const Export& value, std::ostream* out) {
    *out << value.name;
}

class NbdIo : public testing::TestWithParam<Export> {
protected:
    std::vector<std::string> arguments() const {
        auto all = GetParam().arguments;
        if (GetParam().kind == NbdServer::Kind::nbdkit) {
            // Filters come before the plug-in, and their parameters after it.
            const auto parameters = std::find_if(all.begin(), all.end(),
                                                 [](const auto& word) { return word[0] != '-'; });
            all.insert(parameters, {"file", file_.path()});
        } else {
            all.push_back(file_.path());
        }
        return all;
    }
    /// Buffers of about the same length, none beside the next.
    std::vector<test::Buffer> scatter(std::size_t length, std::size_t pieces) {
        std::vector<test::Buffer> buffers;
        for (std::size_t i = 0; i < pieces; ++i) {
            const std::size_t bytes = length * (i + 1) / pieces - length * i / pieces;
            buffers.push_back(
                {disk_.memory().allocate(bytes + 7) + 3, static_cast<std::uint32_t>(bytes), false});
        }
        return buffers;
    }
    void put(const std::vector<test::Buffer>& buffers, const Bytes& bytes) {
        auto from = bytes.begin();
        for (const test::Buffer& buffer : buffers) {
            std::copy_n(from, buffer.length,
                        disk_.memory().at(buffer.address, buffer.length).begin());
            from += buffer.length;
        }
    }
    Bytes get(const std::vector<test::Buffer>& buffers) {
        Bytes bytes;
        for (const test::Buffer& buffer : buffers) {
            const auto piece = disk_.memory().at(buffer.address, buffer.length);
            bytes.insert(bytes.end(), piece.begin(), piece.end());
        }
        return bytes;
    }
    /// The head, and where the status will be.
    std::pair<std::uint16_t, Iova> post(std::uint32_t type, std::uint64_t first,
                                        std::vector<test::Buffer> buffers) {
        for (test::Buffer& buffer : buffers) buffer.writable = type == VIRTIO_BLK_T_IN;
        const Iova status = disk_.put_status();
        buffers.insert(buffers.begin(), {disk_.put_header(type, first), 16, false});
        buffers.push_back({status, 1, true});
        return {disk_.driver().add_indirect(buffers), status};
    }
    std::uint8_t run(std::uint32_t type, std::uint64_t first,
                     const std::vector<test::Buffer>& buffers) {
        const auto [head, status] = post(type, first, buffers);
        return disk_.finish(0, {head, {}, 0, status});
    }
    std::uint64_t in_blocks(std::uint64_t blocks) const { return blocks * GetParam().block / 512; }

    TemporaryImage file_{"/dev/shm"};
    NbdServer server_{GetParam().kind, arguments()};
    SoftDisk disk_{test::options_for(server_)};
};

INSTANTIATE_TEST_SUITE_P(Exports, NbdIo, testing::ValuesIn(exports),
                         [](const auto& tested) { return std::string(tested.param.name); });

TEST_P(NbdIo, TellsTheGuestTheServersSizeAndBlocks) {
    virtio_blk_config config{};
    disk_.device().read_config(0, std::as_writable_bytes(std::span(&config, 1)).first(60));
    EXPECT_EQ(config.capacity, (8U << 20) / 512);
    EXPECT_EQ(config.blk_size, GetParam().block);
    EXPECT_EQ(config.blk_size << config.physical_block_exp, 4096U);
}

TEST_P(NbdIo, ReadsAndWritesWhatTheServerHolds) {
    const Bytes content = random_bytes(std::size_t{3} * 4096, 1);
    file_.write(8192, content);
    disk_.start();
    const Iova buffer = disk_.memory().allocate(content.size());
    ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 16, buffer, content.size()), nbd_ok);
    EXPECT_EQ(disk_.get(buffer, content.size()), content);
    EXPECT_EQ(disk_.used_length(), content.size() + 1);
    ASSERT_EQ(disk_.write(80, content), nbd_ok);
    ASSERT_EQ(disk_.flush(), nbd_ok);
    EXPECT_EQ(file_.read(80 * sector, content.size()), content);
}

TEST_P(NbdIo, TakesPiecesOfOddSizesAtOddAddresses) {
    disk_.start();
    const Bytes content = random_bytes(std::size_t{50} * 4096, 4);
    for (const std::size_t pieces : {1U, 2U, 7U, 40U, 126U}) {
        const auto scattered = scatter(content.size(), pieces);
        put(scattered, content);
        ASSERT_EQ(run(VIRTIO_BLK_T_OUT, 80, scattered), nbd_ok);
        EXPECT_EQ(file_.read(80 * sector, content.size()), content) << pieces;
        put(scattered, Bytes(content.size()));
        ASSERT_EQ(run(VIRTIO_BLK_T_IN, 80, scattered), nbd_ok);
        EXPECT_EQ(get(scattered), content) << pieces;
        file_.write(80 * sector, Bytes(content.size()));
    }
}

TEST_P(NbdIo, TakesPiecesOfOddSizesManyAtATime) {
    disk_.start();
    std::vector<std::pair<std::vector<test::Buffer>, Bytes>> parts;
    std::vector<Iova> statuses;
    for (unsigned i = 0; i < 6; ++i) {
        parts.emplace_back(scatter(std::size_t{30} * 4096, 7), random_bytes(30UL * 4096, 70 + i));
        put(parts[i].first, parts[i].second);
    }
    for (const unsigned type : {unsigned{VIRTIO_BLK_T_OUT}, unsigned{VIRTIO_BLK_T_IN}}) {
        statuses.clear();
        for (unsigned i = 0; i < parts.size(); ++i) {
            statuses.push_back(post(type, 8 + 240 * i, parts[i].first).second);
        }
        disk_.driver().publish_and_kick();
        for (std::size_t i = 0; i < parts.size(); ++i) ASSERT_TRUE(disk_.driver().wait_used());
        for (const Iova status : statuses) EXPECT_EQ(disk_.memory().load<std::uint8_t>(status), 0);
        for (unsigned i = 0; i < parts.size(); ++i) {
            EXPECT_EQ(file_.read(4096 + 240UL * i * sector, parts[i].second.size()),
                      parts[i].second);
            EXPECT_EQ(get(parts[i].first), parts[i].second);
            if (type == VIRTIO_BLK_T_OUT) put(parts[i].first, Bytes(parts[i].second.size()));
        }
    }
}

TEST_P(NbdIo, TakesMoreAtATimeThanTheServer) {
    disk_.start();
    const Bytes content = random_bytes(std::size_t{6} << 20, 5);
    ASSERT_EQ(disk_.write(8, content), nbd_ok);
    EXPECT_EQ(file_.read(4096, content.size()), content);
    const Iova back = disk_.memory().allocate(content.size());
    ASSERT_EQ(disk_.run(0, VIRTIO_BLK_T_IN, 8, back, content.size()), nbd_ok);
    EXPECT_EQ(disk_.get(back, content.size()), content);
}

TEST_P(NbdIo, DiscardsAndWritesZeroesAndNothingElse) {
    file_.write(0, Bytes(8 << 20, std::byte{0xaa}));
    disk_.start();
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_DISCARD, {{8, 8, 0}, {64, 16, 0}}), nbd_ok);
    EXPECT_EQ(file_.read(0, 4096), Bytes(4096, std::byte{0xaa}));
    EXPECT_EQ(file_.read(8192, 24576), Bytes(24576, std::byte{0xaa}));
    EXPECT_EQ(file_.read(40960, 4096), Bytes(4096, std::byte{0xaa}));
    const auto at = [&](std::uint64_t block, std::uint32_t count, std::uint32_t flags) {
        return virtio_blk_discard_write_zeroes{in_blocks(block),
                                               static_cast<std::uint32_t>(in_blocks(count)), flags};
    };
    file_.write(0, Bytes(8 << 20, std::byte{0xaa}));
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {at(3, 5, 0), at(101, 901, 0)}), nbd_ok);
    ASSERT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {at(1201, 301, 1)}), nbd_ok);
    Bytes expected(8 << 20, std::byte{0xaa});
    const long block = GetParam().block;
    for (const auto& [first, count] : {std::pair{3L, 5L}, {101L, 901L}, {1201L, 301L}}) {
        std::fill_n(expected.begin() + first * block, count * block, std::byte{0});
    }
    EXPECT_EQ(file_.read(0, expected.size()), expected);
}

TEST_P(NbdIo, WritesThroughForADriverThatCannotFlush) {
    disk_.start_without(VIRTIO_BLK_F_FLUSH);
    const Bytes content = random_bytes(std::size_t{8} * sector, 8);
    EXPECT_EQ(disk_.write(16, content), nbd_ok);
    EXPECT_EQ(disk_.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{0, 8, 1}}), nbd_ok);
    EXPECT_EQ(file_.read(16 * sector, content.size()), content);
}

TEST_P(NbdIo, RefusesWhatIsNoWholeBlock) {
    disk_.start();
    const std::uint8_t expected = GetParam().block == sector ? nbd_ok : nbd_error;
    EXPECT_EQ(disk_.write(9, Bytes(sector)), expected);
    EXPECT_EQ(disk_.write(8, Bytes(4096)), nbd_ok) << "and goes on";
}

TEST_P(NbdIo, HasManyRequestsInFlightAtTheSameTime) {
    disk_.start();
    test::VerifiedLoad load(disk_);
    for (unsigned i = 0; i < 50; ++i) load.round();
}

/// A server that writes down what it is asked for.
class NbdRequests : public testing::Test {
protected:
    NbdServer logging(std::vector<std::string> filters) const {
        filters.insert(filters.end(), {"--filter=log", "memory", "8M", "logfile=" + log_});
        return test::nbdkit(filters);
    }
    /// Of "Write id=1 offset=0x0 count=0x1000 fua=0 ..." what is between the id and the dots.
    [[nodiscard]] std::vector<std::string> asked() const {
        std::vector<std::string> requests;
        std::ifstream log(log_);
        for (std::string line; std::getline(log, line);) {
            const auto id = line.find(" id=");
            const auto end = line.find(" ...");
            const auto kind = line.rfind(' ', id - 1) + 1;
            if (line.find("connection=") == std::string::npos || end < id || end + 4 != line.size())
                continue;
            const auto arguments = std::min(line.find(' ', id + 1), end);
            requests.push_back(line.substr(kind, id - kind) +
                               line.substr(arguments, end - arguments));
        }
        return requests;
    }

    test::TemporaryDirectory directory_;
    std::string log_ = directory_.path("log");
};

TEST_F(NbdRequests, CarryWhatTheGuestAsksFor) {
    const NbdServer server = logging({});
    SoftDisk disk(test::options_for(server));
    disk.start();
    EXPECT_EQ(disk.write(8, Bytes(4096)), nbd_ok);
    EXPECT_EQ(disk.flush(), nbd_ok);
    EXPECT_EQ(disk.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{16, 8, 0}, {24, 8, 1}}), nbd_ok);
    EXPECT_EQ(disk.clear(VIRTIO_BLK_T_DISCARD, {{32, 8, 0}}), nbd_ok);
    EXPECT_THAT(asked(), testing::ElementsAre("Write offset=0x1000 count=0x1000 fua=0", "Flush",
                                              "Zero offset=0x2000 count=0x1000 trim=0 fua=0 fast=0",
                                              "Zero offset=0x3000 count=0x1000 trim=1 fua=0 fast=0",
                                              "Trim offset=0x4000 count=0x1000 fua=0"));
}

TEST_F(NbdRequests, AreDurableForADriverThatCannotFlush) {
    const NbdServer server = logging({});
    SoftDisk disk(test::options_for(server));
    disk.start_without(VIRTIO_BLK_F_FLUSH);
    EXPECT_EQ(disk.write(8, Bytes(4096)), nbd_ok);
    EXPECT_EQ(disk.clear(VIRTIO_BLK_T_WRITE_ZEROES, {{16, 8, 1}}), nbd_ok);
    EXPECT_THAT(asked(),
                testing::ElementsAre("Write offset=0x1000 count=0x1000 fua=1",
                                     "Zero offset=0x2000 count=0x1000 trim=1 fua=1 fast=0"));
}

TEST_F(NbdRequests, AreFlushedWhereTheServerHasNoFua) {
    const NbdServer server = logging({"--filter=fua"});
    SoftDisk disk(test::options_for(server));
    disk.start_without(VIRTIO_BLK_F_FLUSH);
    EXPECT_EQ(disk.write(8, Bytes(4096)), nbd_ok);
    EXPECT_THAT(asked(), testing::ElementsAre("Write offset=0x1000 count=0x1000 fua=0", "Flush"));
}

TEST(NbdQueues, WorkAtTheSameTimeWhereTheServerHasMultiConn) {
    const TemporaryImage file("/dev/shm");
    const NbdServer server(NbdServer::Kind::qemu,
                           {"--persistent", "--shared=2", "--format=raw", file.path()});
    SoftDisk disk(test::options_for(server, 2));
    disk.start();
    test::VerifiedLoad first(disk, 0);
    test::VerifiedLoad second(disk, 1);
    std::thread other([&] {
        for (unsigned i = 0; i < 50; ++i) second.round();
    });
    for (unsigned i = 0; i < 50; ++i) first.round();
    other.join();
}

}  // namespace
}  // namespace viaduct::soft
