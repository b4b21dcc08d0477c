/// NBD servers that want TLS, with pre-shared keys: nbds://.
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "tests/unit/soft_nbd_world.hpp"

namespace viaduct::soft {
namespace {

using test::Bytes;
using test::NbdServer;
using test::random_bytes;
using test::SoftDisk;
using test::TemporaryImage;
using testing::AllOf;
using testing::HasSubstr;

class NbdTls : public testing::Test {
protected:
    /// A file that gives `guest` a key of 32 bytes.
    [[nodiscard]] std::string key_file(const std::string& name, char digit) const {
        std::string path = directory_.path(name);
        std::ofstream(path) << "guest:" << std::string(64, digit) << '\n';
        return path;
    }
    [[nodiscard]] SoftDeviceOptions options(const std::string& keys) const {
        auto options = test::options_for(server_);
        options.image = "nbds+unix://guest@/?socket=" + server_.socket() + "&tls-psk-file=" + keys;
        return options;
    }

    test::TemporaryDirectory directory_;
    TemporaryImage file_{"/dev/shm"};
    std::string keys_ = key_file("keys", 'a');
    NbdServer server_ = test::nbdkit({"--tls=require", "--tls-psk=" + keys_, "file", file_.path()});
};

TEST_F(NbdTls, CarriesWhatTheGuestWritesAndReads) {
    SoftDisk disk(options(keys_));
    disk.start();
    const Bytes content = random_bytes(std::size_t{1} << 20, 11);
    ASSERT_EQ(disk.write(16, content), VIRTIO_BLK_S_OK);
    ASSERT_EQ(disk.flush(), VIRTIO_BLK_S_OK);
    EXPECT_TRUE(file_.read(16 * test::sector, content.size()) == content);
    const Iova room = disk.memory().allocate(content.size());
    ASSERT_EQ(disk.run(0, VIRTIO_BLK_T_IN, 16, room, content.size()), VIRTIO_BLK_S_OK);
    EXPECT_TRUE(disk.get(room, content.size()) == content);
}

TEST_F(NbdTls, IsSpokenAgainWithAServerThatCameBack) {
    SoftDisk disk(options(keys_));
    disk.start();
    test::restart_under_load(server_, disk, 3);
}

TEST_F(NbdTls, WithAnotherKeyOrWithoutOneIsRefused) {
    const auto refusal = [&](const std::string& uri) {
        return test::error_of([&] { const NbdImage image({.name = uri}); });
    };
    EXPECT_THAT(refusal(options(key_file("others", 'b')).image), HasSubstr("cannot be reached"));
    EXPECT_THAT(refusal(server_.uri()), AllOf(HasSubstr("cannot be reached"), HasSubstr("TLS")));
}

}  // namespace
}  // namespace viaduct::soft
