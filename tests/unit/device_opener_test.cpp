#include "vmm/device_opener.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::vmm {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

bool is_open(int fd) {
    return ::fcntl(fd, F_GETFD) != -1;
}

TEST(DeviceOpener, OpensAnImageAsOftenAsItIsAsked) {
    const test::TemporaryDirectory directory;
    const std::string image = directory.path("disk.raw");
    test::make_pattern_image(image, 1U << 20);
    const auto open = opener_of(parse_device("vdpa,image=" + image, 0));
    open().reset();
    EXPECT_EQ(open()->name(), image);
}

TEST(DeviceOpener, ADescriptorThatWasNotHandedOverIsNamed) {
    EXPECT_THAT(
        [] {
            check_handed_over({parse_device("vdpa,image=x", 0), parse_device("vdpa,fd=0", 1),
                               parse_device("vdpa,fd=1000000", 2)});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("1000000"), HasSubstr("is inherited"))));
}

TEST(DeviceOpener, ADescriptorThatIsGoneIsNotTakenForWhoeverHasItsNumberNow) {
    constexpr int far_from_others = 500;
    const Fd other(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const int fd = ::fcntl(other.get(), F_DUPFD_CLOEXEC, far_from_others);
    const auto open = opener_of(parse_device("vdpa,fd=" + std::to_string(fd), 0));
    // It is taken over, and closed as it is no vDPA device.
    EXPECT_THAT([&] { (void)open(); }, ThrowsMessage<Error>(HasSubstr(std::to_string(fd))));
    ASSERT_FALSE(is_open(fd));
    ASSERT_EQ(::dup3(other.get(), fd, O_CLOEXEC), fd);
    EXPECT_THAT([&] { (void)open(); },
                ThrowsMessage<Error>(AllOf(HasSubstr("fd=" + std::to_string(fd)),
                                           HasSubstr("handed over open"), HasSubstr("path="))));
    EXPECT_TRUE(is_open(fd));
    ::close(fd);
}

}  // namespace
}  // namespace viaduct::vmm
