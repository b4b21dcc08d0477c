/// What an operator calls an image, and what he is told when it cannot serve.
#include <gmock/gmock.h>

#include "tests/unit/soft_nbd_world.hpp"
#include "vdpa/soft/image/open_image.hpp"

namespace viaduct::soft {
namespace {

using test::error_of;
using test::NbdServer;
using test::TemporaryImage;
using testing::AllOf;
using testing::HasSubstr;

TEST(ImageName, IsAUriOfANetworkOrAPath) {
    for (const char* const uri :
         {"nbd://host", "nbd://[::1]:10809/export", "nbds://host/x", "nbd+unix:///?socket=/run/s",
          "nbds+unix:///x?socket=/run/s", "nbd+vsock://3/x", "nbds+vsock://3"}) {
        EXPECT_EQ(network_image(uri), NetworkImage::nbd) << uri;
    }
    EXPECT_EQ(network_image("rbd:pool/image"), NetworkImage::rbd);
    for (const char* const path : {"disk.raw", "/srv/disk.raw", "", "nbd", "nbd:unix:/run/s",
                                   "./nbd://host", "rbd/x", "NBD://host", "http://host/x"}) {
        EXPECT_EQ(network_image(path), std::nullopt) << path;
    }
}

TEST(ImageName, OfAKindThatIsNotBuiltInSaysHowToBuildIt) {
    if (is_provided(NetworkImage::rbd)) return;
    EXPECT_THAT(
        error_of([] { (void)open_image({.name = "rbd:pool/image"}); }),
        AllOf(HasSubstr("rbd:pool/image"), HasSubstr("-DVIADUCT_RBD=ON"), HasSubstr("librbd-dev")));
}

std::string error_of_opening_export(const std::string& uri, unsigned lanes = 1,
                                    bool read_only = false) {
    return error_of(
        [&] { const NbdImage image({.name = uri, .read_only = read_only, .lanes = lanes}); });
}

TEST(NbdExport, OfAServerThatIsNotThereSaysSo) {
    EXPECT_THAT(
        error_of_opening_export("nbd+unix:///?socket=/no/such/socket"),
        AllOf(HasSubstr("nbd+unix:///?socket=/no/such/socket"), HasSubstr("cannot be reached"),
              HasSubstr("No such file or directory"), HasSubstr("is it running")));
    EXPECT_THAT(error_of_opening_export("nbd://127.0.0.1:1/x"),
                AllOf(HasSubstr("cannot be reached"), HasSubstr("Connection refused")));
}

TEST(NbdExport, WithAUriThatMakesNoSenseSaysSo) {
    EXPECT_THAT(error_of_opening_export("nbd+unix:///x"), HasSubstr("cannot be reached"));
    EXPECT_THAT(error_of_opening_export("nbd://:::/"), HasSubstr("cannot be reached"));
}

TEST(NbdExport, ThatTheServerDoesNotHaveIsItsError) {
    const TemporaryImage file("/dev/shm");
    const NbdServer server(NbdServer::Kind::qemu,
                           {"--persistent", "--format=raw", "--export-name=disk", file.path()});
    EXPECT_THAT(error_of_opening_export(server.uri()), HasSubstr("cannot be reached"));
    EXPECT_EQ(error_of_opening_export("nbd+unix:///disk?socket=" + server.socket()), "");
}

TEST(NbdExport, ThatIsReadOnlyWantsToBeAttachedSo) {
    const NbdServer server = test::nbdkit({"-r", "memory", "8M"});
    EXPECT_THAT(error_of_opening_export(server.uri()),
                AllOf(HasSubstr("read-only"), HasSubstr("readonly=on")));
    EXPECT_EQ(error_of_opening_export(server.uri(), 1, true), "");
}

TEST(NbdExport, WithoutMultiConnHasOneQueue) {
    const NbdServer server =
        test::nbdkit({"--filter=multi-conn", "memory", "8M", "multi-conn-mode=disable"});
    EXPECT_EQ(error_of_opening_export(server.uri()), "");
    EXPECT_THAT(error_of_opening_export(server.uri(), 2),
                AllOf(HasSubstr("multi-conn"), HasSubstr("queues=1"), HasSubstr("--shared=2")));
}

TEST(NbdExport, WhoseSizeIsNoMultipleOf512IsRefused) {
    const NbdServer server = test::nbdkit({"memory", "1000"});
    EXPECT_THAT(error_of_opening_export(server.uri()),
                AllOf(HasSubstr("1000 bytes"), HasSubstr("multiple of 512")));
}

TEST(NbdExport, WhoseBlocksAreLargerThanAGuestsIsRefused) {
    const NbdServer server =
        test::nbdkit({"--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=8192",
                      "blocksize-preferred=8192", "blocksize-maximum=1M"});
    EXPECT_THAT(error_of_opening_export(server.uri()),
                AllOf(HasSubstr("8192 bytes"), HasSubstr("4096"), HasSubstr("minblock")));
}

}  // namespace
}  // namespace viaduct::soft
