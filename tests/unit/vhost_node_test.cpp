// Opening a node: a device that is already open, missing or unreadable gives three different
// helpful messages. Real files stand for /dev/vhost-vdpa-N: pseudo-terminals are character devices
// that anybody can make, forbid, and open exclusively.
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <thread>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/support/vm_process.hpp"
#include "vdpa/vhost/node.hpp"
#include "vdpa/vhost/vdpa_device.hpp"

namespace viaduct::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

/// What open_node() says to a user without privileges: root may do everything.
std::string refusal_for_a_user(const std::string& path) {
    constexpr uid_t nobody = 65534;
    std::string text;
    std::thread user([&] {
        // By number: this thread alone changes, not the process as with setresuid(3).
        if (::geteuid() == 0) ::syscall(SYS_setresuid, nobody, nobody, nobody);
        try {
            vhost::open_node(path);
        } catch (const Error& refused) {
            text = refused.what();
        }
    });
    user.join();
    return text;
}

class CharacterDevice {
public:
    CharacterDevice() {
        int master = -1;
        int slave = -1;
        std::array<char, 64> name{};
        if (::openpty(&master, &slave, name.data(), nullptr, nullptr) != 0) {
            throw SystemError("openpty");
        }
        master_ = Fd(master);
        slave_ = Fd(slave);
        path_ = name.data();
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    void set_mode(mode_t mode) const { EXPECT_EQ(::chmod(path_.c_str(), mode), 0); }
    void open_exclusively() const { EXPECT_EQ(::ioctl(slave_.get(), TIOCEXCL), 0); }

private:
    Fd master_;
    Fd slave_;
    std::string path_;
};

TEST(VhostNode, ADeviceThatIsAlreadyOpenSaysWhoMayHaveIt) {
    const CharacterDevice device;
    device.set_mode(0666);
    device.open_exclusively();
    EXPECT_THAT(refusal_for_a_user(device.path()),
                AllOf(HasSubstr(device.path()), HasSubstr("in use by another process"),
                      HasSubstr("fuser"), Not(HasSubstr("\n"))));
}

TEST(VhostNode, ADeviceThatIsMissingSaysHowToAddOne) {
    EXPECT_THAT([] { vhost::open_node("/dev/vhost-vdpa-none"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("/dev/vhost-vdpa-none does not exist"),
                                           HasSubstr("vhost_vdpa module"),
                                           HasSubstr("vdpa dev add"), Not(HasSubstr("\n")))));
}

TEST(VhostNode, ADeviceThatIsUnreadableSaysHowToGiveAccess) {
    const CharacterDevice device;
    device.set_mode(0);
    // Root may own it and is refused nothing, another user is neither owner nor root.
    ASSERT_EQ(::geteuid(), 0U) << "run the tests as root";
    EXPECT_THAT(refusal_for_a_user(device.path()),
                AllOf(HasSubstr(device.path()), HasSubstr("may not be opened by this user"),
                      HasSubstr("chgrp kvm"), Not(HasSubstr("\n"))));
}

TEST(VhostNode, AnyOtherFailureGivesTheSystemsReason) {
    EXPECT_THAT([] { vhost::open_node("/dev/null/vhost-vdpa-0"); },
                ThrowsMessage<Error>(
                    AllOf(HasSubstr("/dev/null/vhost-vdpa-0"), HasSubstr("Not a directory"))));
}

TEST(VhostNode, AFileThatIsNoCharacterDeviceIsRefusedUnopened) {
    const TemporaryDirectory directory;
    const std::string image = directory.path("disk.raw");
    make_pattern_image(image, 512);
    EXPECT_THAT([&] { vhost::open_node(image); },
                ThrowsMessage<Error>(AllOf(HasSubstr(image), HasSubstr("not a vDPA device"),
                                           HasSubstr("image=" + image))));
}

TEST(VhostNode, AnotherCharacterDeviceIsNoVdpaDevice) {
    EXPECT_THAT(
        [] { vhost::VdpaDevice("/dev/null", vhost::open_node("/dev/null")); },
        ThrowsMessage<Error>(AllOf(HasSubstr("/dev/null"), HasSubstr("not a vDPA device"))));
}

TEST(VhostNode, HasNoDoorbellWhereNoneCanBeMapped) {
    const auto node = vhost::open_node("/dev/null");
    EXPECT_FALSE(node->map_doorbell(0));
}

TEST(VhostNode, TakesOverADescriptorAndKeepsItFromChildren) {
    const int fd = ::open("/dev/null", O_RDWR);
    ASSERT_GE(fd, 0);
    auto node = vhost::adopt_node(fd);
    EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_TRUE(node->write({}));
    node.reset();
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
}

TEST(VhostNode, ADescriptorThatIsNotOpenIsRefused) {
    EXPECT_THAT([] { (void)vhost::adopt_node(1000000); },
                ThrowsMessage<Error>(AllOf(HasSubstr("1000000"), HasSubstr("not open"))));
}

}  // namespace
}  // namespace viaduct::test
