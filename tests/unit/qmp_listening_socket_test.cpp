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
#include "tests/unit/qmp_temporary_folder.hpp"
#include "vmm/control/listening_socket.hpp"

namespace viaduct::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string refusal(const std::string& address) {
    try {
        const ListeningSocket socket(address);
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

TEST(QmpListeningSocket, IsForItsOwnerAlone) {
    const TemporaryFolder folder;
    const ListeningSocket socket("unix:" + folder.file("qmp"));
    struct stat status {};
    ASSERT_EQ(::stat(folder.file("qmp").c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST(QmpListeningSocket, RemovesItsFile) {
    const TemporaryFolder folder;
    { const ListeningSocket socket("unix:" + folder.file("qmp")); }
    EXPECT_FALSE(std::filesystem::exists(folder.file("qmp")));
}

TEST(QmpListeningSocket, LeavesAFileThatIsNoLongerItsOwn) {
    const TemporaryFolder folder;
    std::optional<ListeningSocket> first("unix:" + folder.file("qmp"));
    std::filesystem::rename(folder.file("qmp"), folder.file("old"));
    const ListeningSocket second("unix:" + folder.file("qmp"));
    first.reset();
    EXPECT_TRUE(std::filesystem::exists(folder.file("qmp")));
}

TEST(QmpListeningSocket, ReplacesASocketWhoseProcessIsGone) {
    const TemporaryFolder folder;
    leave_behind(folder.file("qmp"));
    ListeningSocket socket("unix:" + folder.file("qmp"));
    const Fd client(::socket(AF_UNIX, SOCK_STREAM, 0));
    const auto address = address_of(folder.file("qmp"));
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_TRUE(socket.accept());
    EXPECT_FALSE(socket.accept());
}

TEST(QmpListeningSocket, RefusesAPathThatIsInUse) {
    const TemporaryFolder folder;
    const auto address = "unix:" + folder.file("qmp");
    const ListeningSocket socket(address);
    EXPECT_EQ(refusal(address),
              "--qmp " + address + ": in use by a running process: stop it or choose another path");
    EXPECT_TRUE(std::filesystem::exists(folder.file("qmp")));
}

TEST(QmpListeningSocket, LeavesAFileThatIsNoSocketAlone) {
    const TemporaryFolder folder;
    std::ofstream(folder.file("qmp")) << "precious";
    EXPECT_THAT(refusal("unix:" + folder.file("qmp")), HasSubstr("is not a socket"));
    EXPECT_EQ(std::filesystem::file_size(folder.file("qmp")), 8U);
}

TEST(QmpListeningSocket, SaysWhichDirectoryIsMissing) {
    const TemporaryFolder folder;
    EXPECT_THAT(
        refusal("unix:" + folder.file("nowhere/qmp")),
        AllOf(HasSubstr(folder.file("nowhere") + " does not exist"), HasSubstr("create it")));
}

TEST(QmpListeningSocket, SaysHowLongAPathMayBe) {
    const TemporaryFolder folder;
    const auto longest = folder.file(std::string(106 - folder.file("").size() + 1, 'x'));
    ASSERT_EQ(longest.size(), 107U);
    EXPECT_EQ(refusal("unix:" + longest), "no refusal");
    EXPECT_THAT(refusal("unix:" + longest + "x"),
                AllOf(HasSubstr("108 bytes"), HasSubstr("at most 107"), HasSubstr("shorter")));
}

TEST(QmpListeningSocket, RefusesAnAddressThatIsNone) {
    EXPECT_THAT(refusal("carrier-pigeon:5"), HasSubstr("use unix:PATH"));
    EXPECT_THAT(refusal("unix:"), HasSubstr("use unix:PATH"));
    EXPECT_THAT(refusal(""), HasSubstr("use unix:PATH"));
}

}  // namespace
}  // namespace viaduct::control
