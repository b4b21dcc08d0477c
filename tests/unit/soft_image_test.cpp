#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/soft_disk.hpp"
#include "vdpa/soft/image/file_image.hpp"

namespace viaduct::soft {
namespace {

using test::error_of;
using test::TemporaryImage;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of_opening(const std::string& path, bool read_only = false,
                             DirectIo direct = DirectIo::automatic) {
    return error_of([&] { const FileImage image({path, read_only, direct}); });
}

TEST(Image, ThatIsMissingSaysHowToMakeOne) {
    EXPECT_THAT(error_of_opening("/dev/shm/no-such-image"),
                AllOf(HasSubstr("/dev/shm/no-such-image"), HasSubstr("does not exist"),
                      HasSubstr("truncate -s")));
}

TEST(Image, ThatIsADirectoryIsRefused) {
    EXPECT_THAT(error_of_opening("/dev/shm"), AllOf(HasSubstr("directory"), HasSubstr("raw")));
}

TEST(Image, ThatIsNeitherFileNorBlockDeviceIsRefusedWithoutBlocking) {
    const std::string path = "/dev/shm/viaduct-test-fifo-" + std::to_string(::getpid());
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    EXPECT_THAT(error_of_opening(path), HasSubstr("neither a file nor a block device"));
    std::filesystem::remove(path);
    EXPECT_THAT(error_of_opening("/dev/null"), HasSubstr("neither a file nor a block device"));
}

TEST(Image, ThatIsEmptyIsRefused) {
    const TemporaryImage file("/dev/shm", 0);
    EXPECT_THAT(error_of_opening(file.path()), AllOf(HasSubstr("empty"), HasSubstr("truncate -s")));
}

TEST(Image, WhoseSizeIsNoMultipleOf512SaysItsSizeAndTheNextGoodOne) {
    const TemporaryImage file("/dev/shm", 1000);
    EXPECT_THAT(error_of_opening(file.path()),
                AllOf(HasSubstr("1000 bytes"), HasSubstr("512"), HasSubstr("truncate -s 1024")));
}

/// The error as somebody sees it who is not root: in a process of its own.
std::string error_of_opening_as_nobody(const std::string& path, bool read_only) {
    std::array<int, 2> pipe{};
    EXPECT_EQ(::pipe(pipe.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const bool unprivileged = ::getuid() != 0 || ::setuid(65534) == 0;
        const std::string text = unprivileged ? error_of_opening(path, read_only) : "still root";
        ::_exit(::write(pipe[1], text.data(), text.size()) < 0 ? 1 : 0);
    }
    ::close(pipe[1]);
    std::array<char, 1000> text{};
    const auto count = ::read(pipe[0], text.data(), text.size());
    ::close(pipe[0]);
    EXPECT_EQ(::waitpid(child, nullptr, 0), child);
    return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
}

TEST(Image, ThatIsForbiddenSaysForWhat) {
    const TemporaryImage file("/dev/shm");
    ASSERT_EQ(::chmod(file.path().c_str(), 0), 0);
    EXPECT_THAT(error_of_opening_as_nobody(file.path(), false),
                AllOf(HasSubstr("reading and writing"), HasSubstr("Permission denied"),
                      HasSubstr("readonly=on")));
    EXPECT_THAT(error_of_opening_as_nobody(file.path(), true),
                AllOf(HasSubstr("for reading:"), HasSubstr("Permission denied")));
}

TEST(Image, IsNotOpenedByTwoMachinesAtOnce) {
    const TemporaryImage file("/dev/shm");
    const FileImage first({file.path()});
    EXPECT_THAT(error_of_opening(file.path()),
                AllOf(HasSubstr("in use"), HasSubstr("two machines"), HasSubstr("readonly=on")));
    EXPECT_THAT(error_of_opening(file.path(), true), HasSubstr("in use"));
}

TEST(Image, IsFreeAgainWhenItsMachineIsGone) {
    const TemporaryImage file("/dev/shm");
    { const FileImage first({file.path()}); }
    EXPECT_EQ(error_of_opening(file.path()), "");
}

TEST(Image, IsSharedByReadersButNotWithAWriter) {
    const TemporaryImage file("/dev/shm");
    const FileImage first({file.path(), true});
    EXPECT_EQ(error_of_opening(file.path(), true), "");
    EXPECT_THAT(error_of_opening(file.path(), false), HasSubstr("in use"));
}

TEST(Image, OfAReaderWaitsForTheLastOneOfItsName) {
    const TemporaryImage file("/var/tmp");
    FileImageOptions options{.path = file.path(),
                             .read_only = true,
                             .lock_patience = std::chrono::milliseconds(20),
                             .owner = "disk0"};
    auto first = std::make_unique<FileImage>(options);
    EXPECT_THAT(error_of([&] { const FileImage second(options); }), HasSubstr("served disk0"));
    auto other = options;
    other.owner = "disk1";
    EXPECT_EQ(error_of([&] { const FileImage second(other); }), "");
    first.reset();
    EXPECT_EQ(error_of([&] { const FileImage second(options); }), "");
}

TEST(Image, OnADiskIsOpenedForDirectIo) {
    const TemporaryImage file("/var/tmp");
    const FileImage image({file.path(), false, DirectIo::on});
    ASSERT_GE(image.access().direct, 0);
    EXPECT_NE(::fcntl(image.access().direct, F_GETFL) & O_DIRECT, 0);
    EXPECT_EQ(::fcntl(image.access().buffered, F_GETFL) & O_DIRECT, 0);
    EXPECT_GE(image.access().offset_alignment, 512U);
}

TEST(Image, IsNotOpenedForDirectIoWhenThatIsOff) {
    const TemporaryImage file("/var/tmp");
    EXPECT_LT(FileImage({file.path(), false, DirectIo::off}).access().direct, 0);
}

TEST(Image, KnowsItsSizeAndItsBlocks) {
    const TemporaryImage file("/var/tmp", 1 << 20);
    const FileImage image({file.path()});
    EXPECT_EQ(image.geometry().size, std::uint64_t{1} << 20);
    EXPECT_EQ(image.geometry().physical_block, 4096U);
    EXPECT_EQ(image.name(), file.path());
}

}  // namespace
}  // namespace viaduct::soft
