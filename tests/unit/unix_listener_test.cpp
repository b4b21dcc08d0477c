#include "base/unix_listener.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "tests/support/temporary_directory.hpp"

namespace viaduct {
namespace {

using test::TemporaryDirectory;
using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const std::string& path) {
    try {
        const UnixListener listener("--option", path);
    } catch (const Error& error) {
        return error.what();
    }
    return "no refusal";
}

sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(path, address.sun_path);
    return address;
}

/// A socket file whose process is gone.
void leave_behind(const std::string& path) {
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    const auto address = address_of(path);
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
}

TEST(UnixListener, IsForItsOwnerAlone) {
    const TemporaryDirectory directory;
    const UnixListener listener("--option", directory.path("socket"));
    struct stat status {};
    ASSERT_EQ(::stat(directory.path("socket").c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(UnixListener, RemovesItsFile) {
    const TemporaryDirectory directory;
    { const UnixListener listener("--option", directory.path("socket")); }
    EXPECT_FALSE(std::filesystem::exists(directory.path("socket")));
}

TEST(UnixListener, LeavesAFileThatIsNoLongerItsOwn) {
    const TemporaryDirectory directory;
    std::optional<UnixListener> first(std::in_place, "--option", directory.path("socket"));
    std::filesystem::rename(directory.path("socket"), directory.path("old"));
    const UnixListener second("--option", directory.path("socket"));
    first.reset();
    EXPECT_TRUE(std::filesystem::exists(directory.path("socket")));
}

TEST(UnixListener, ReplacesASocketWhoseProcessIsGone) {
    const TemporaryDirectory directory;
    leave_behind(directory.path("socket"));
    UnixListener listener("--option", directory.path("socket"));
    const Fd client(::socket(AF_UNIX, SOCK_STREAM, 0));
    const auto address = address_of(directory.path("socket"));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_TRUE(listener.accept());
    EXPECT_FALSE(listener.accept());
}

TEST(UnixListener, RefusesAPathThatIsInUse) {
    const TemporaryDirectory directory;
    const auto path = directory.path("socket");
    const UnixListener listener("--option", path);
    EXPECT_EQ(refusal(path), "--option unix:" + path +
                                 ": in use by a running process: end it or choose another path");
    EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(UnixListener, LeavesAFileThatIsNoSocketAlone) {
    const TemporaryDirectory directory;
    std::ofstream(directory.path("socket")) << "precious";
    EXPECT_THAT(refusal(directory.path("socket")), HasSubstr("is not a socket"));
    EXPECT_EQ(std::filesystem::file_size(directory.path("socket")), 8U);
}

TEST(UnixListener, SaysWhichDirectoryIsMissing) {
    const TemporaryDirectory directory;
    EXPECT_THAT(
        refusal(directory.path("nowhere/socket")),
        AllOf(HasSubstr(directory.path("nowhere") + " does not exist"), HasSubstr("create it")));
}

TEST(UnixListener, SaysHowLongAPathMayBe) {
    const TemporaryDirectory directory;
    const auto longest = directory.path(std::string(106 - directory.path("").size() + 1, 'x'));
    ASSERT_EQ(longest.size(), 107U);
    EXPECT_EQ(refusal(longest), "no refusal");
    EXPECT_THAT(refusal(longest + "x"),
                AllOf(HasSubstr("108 bytes"), HasSubstr("at most 107"), HasSubstr("shorter")));
}

TEST(UnixListener, RemovesItsFileWhenItIsClosedAndAcceptsNobodyAfterThat) {
    const TemporaryDirectory directory;
    UnixListener listener("--option", directory.path("socket"));
    listener.close();
    EXPECT_FALSE(std::filesystem::exists(directory.path("socket")));
    EXPECT_EQ(listener.fd(), -1);
    EXPECT_FALSE(listener.accept());
}

}  // namespace
}  // namespace viaduct
