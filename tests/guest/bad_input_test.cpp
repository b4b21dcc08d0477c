// What an operator can get wrong: one clear line on stderr that says what to do, and exit status 1.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include <algorithm>
#include <fstream>

#include "tests/guest/probe_run.hpp"

namespace viaduct::test {
namespace {

void expect_refused(const std::vector<std::string>& arguments,
                    const std::vector<std::string>& texts) {
    std::vector<std::string> command{viaduct_program(), "run"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run(command);
    EXPECT_EQ(outcome.status, 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    for (const std::string& text : texts) {
        EXPECT_NE(outcome.err.find(text), std::string::npos)
            << "'" << text << "' is missing in: " << outcome.err;
    }
}

void expect_device_refused(const std::string& device, const std::vector<std::string>& texts) {
    expect_refused({"--kernel", probe_image(), "--device", device}, texts);
}

std::string write_file(const TemporaryDirectory& directory, const std::string& name,
                       const std::string& content) {
    std::string path = directory.path(name);
    std::ofstream(path, std::ios::binary) << content;
    return path;
}

TEST(BadInput, AnUnknownOptionNamesTheNearest) {
    expect_refused({"--kernel", probe_image(), "--memroy", "1G"}, {"--memroy", "--memory"});
}

TEST(BadInput, AnUnknownDevicePropertyNamesTheNearest) {
    expect_device_refused("vdpa,pth=/dev/null", {"'pth'", "'path'"});
}

TEST(BadInput, ADeviceWithoutASourceIsRefused) {
    expect_device_refused("vdpa,id=disk0", {"path=", "image=", "fd="});
}

TEST(BadInput, AnotherKindOfDeviceIsRefused) {
    expect_device_refused("virtio-blk-pci", {"virtio-blk-pci", "vdpa"});
}

TEST(BadInput, TwoDevicesWithOneIdAreRefused) {
    expect_refused({"--kernel", probe_image(), "--device", "vdpa,path=/dev/a,id=x", "--device",
                    "vdpa,path=/dev/b,id=x"},
                   {"'x'", "twice"});
}

TEST(BadInput, AMissingVdpaDeviceSaysHowToAddOne) {
    expect_device_refused("vdpa,path=/dev/vhost-vdpa-99",
                          {"/dev/vhost-vdpa-99", "does not exist", "vdpa dev add"});
}

TEST(BadInput, ARegularFileIsNoVdpaDevice) {
    const TemporaryDirectory directory;
    expect_device_refused("vdpa,path=" + write_file(directory, "disk", "x"),
                          {"not a vDPA device", "image="});
}

TEST(BadInput, AnotherCharacterDeviceIsNoVdpaDevice) {
    expect_device_refused("vdpa,path=/dev/null", {"/dev/null", "not a vDPA device"});
}

TEST(BadInput, ADescriptorThatIsNotInheritedIsNotTakenForOneOfTheProgramsOwn) {
    for (const int number : {3, 8, 13}) {
        const std::string fd = std::to_string(number);
        const Outcome outcome =
            run({"bash", "-c", "exec " + fd + R"(<&-; exec "$@")", "bash", viaduct_program(), "run",
                 "--kernel", probe_image(), "--device", "vdpa,fd=" + fd});
        EXPECT_EQ(outcome.status, 1) << outcome.err;
        EXPECT_NE(outcome.err.find("file descriptor " + fd + " of a vDPA device is not open"),
                  std::string::npos)
            << outcome.err;
    }
}

TEST(BadInput, AForbiddenVdpaDeviceSaysWhoMayOpenIt) {
    const TemporaryDirectory directory;
    const std::string node = directory.path("node");
    ASSERT_EQ(::mknod(node.c_str(), S_IFCHR | 0600, makedev(1, 3)), 0) << "run as root";
    const std::string probe = directory.path("probe.elf");
    std::filesystem::copy(probe_image(), probe);
    const std::string program = directory.path("viaduct");
    std::filesystem::copy(viaduct_program(), program);
    std::filesystem::permissions(std::filesystem::path(node).parent_path(),
                                 std::filesystem::perms(0755));
    const Outcome outcome =
        run({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
             program, "run", "--kernel", probe, "--device", "vdpa,path=" + node});
    EXPECT_EQ(outcome.status, 1) << outcome.err;
    // A machine whose /dev/kvm is closed to others says that first.
    struct stat found = {};
    ASSERT_EQ(::stat("/dev/kvm", &found), 0);
    const std::string closed = (found.st_mode & 06U) == 06U ? node : "/dev/kvm";
    EXPECT_NE(outcome.err.find(closed + " may not be opened by this user"), std::string::npos)
        << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

TEST(BadInput, AMissingKernelIsNamed) {
    expect_refused({"--kernel", "/nonexistent/vmlinuz"}, {"/nonexistent/vmlinuz"});
}

TEST(BadInput, AFileThatIsNoKernelIsRefused) {
    const TemporaryDirectory directory;
    const std::string path = write_file(directory, "notes.txt", std::string(4096, 'x'));
    expect_refused({"--kernel", path}, {path, "bzImage", "ELF"});
}

TEST(BadInput, ATruncatedKernelIsRefused) {
    const TemporaryDirectory directory;
    std::ifstream whole(probe_image(), std::ios::binary);
    std::string start(600, '\0');
    whole.read(start.data(), static_cast<std::streamsize>(start.size()));
    expect_refused({"--kernel", write_file(directory, "short.elf", start)}, {"short.elf"});
}

TEST(BadInput, AMissingInitrdIsNamed) {
    expect_refused({"--kernel", probe_image(), "--initrd", "/nonexistent/initrd"},
                   {"/nonexistent/initrd"});
}

TEST(BadInput, AnInitrdTooBigForMemoryIsRefused) {
    const TemporaryDirectory directory;
    const std::string path = write_file(directory, "initrd", "");
    std::filesystem::resize_file(path, 200U << 20);
    expect_refused({"--kernel", probe_image(), "--initrd", path, "--memory", "128M"},
                   {"initrd", "memory"});
}

TEST(BadInput, AMemorySizeThatIsNoneIsRefused) {
    expect_refused({"--kernel", probe_image(), "--memory", "lots"}, {"'lots'", "512M"});
}

TEST(BadInput, HugePagesThatAreNotThereAreCounted) {
    expect_refused({"--kernel", probe_image(), "--memory", "64G,hugepages=on"},
                   {"huge pages", "are needed", "vm.nr_hugepages"});
}

TEST(BadInput, TooManyCpusAreRefused) {
    expect_refused({"--kernel", probe_image(), "--cpus", "65"}, {"--cpus", "64"});
}

TEST(BadInput, AQueueSizeThatIsNoPowerOfTwoNamesTheNearest) {
    const TemporaryDirectory directory;
    expect_device_refused(image_device(directory, "queue-size=100"), {"100", "64", "128"});
}

TEST(BadInput, AQueueSizeOverTheDevicesNamesItsLimit) {
    const TemporaryDirectory directory;
    expect_device_refused(image_device(directory, "queue-size=32768"), {"32768", "1024"});
}

TEST(BadInput, ADeviceOnTheFastPathInAGroupWithLimitsIsRefused) {
    const TemporaryDirectory directory;
    for (const auto* const path : {"fast", "fast-only"}) {
        expect_refused(
            {"--kernel", probe_image(), "--device",
             image_device(directory, std::string("id=a,throttle.group=g,datapath=") + path),
             "--device", image_device(directory, "id=b,throttle.group=g,throttle.iops-total=100")},
            {"'a'", "'g'", path, "datapath=auto"});
    }
}

TEST(BadInput, AMissingImageIsNamed) {
    expect_device_refused("vdpa,image=/nonexistent.raw", {"/nonexistent.raw"});
}

TEST(BadInput, AnEmptyImageIsRefused) {
    const TemporaryDirectory directory;
    expect_device_refused("vdpa,image=" + write_file(directory, "empty.raw", ""), {"empty"});
}

TEST(BadInput, AnImageThatIsNoMultipleOf512IsRefused) {
    const TemporaryDirectory directory;
    const std::string path = write_file(directory, "odd.raw", std::string(1000, 'x'));
    expect_device_refused("vdpa,image=" + path, {"1000", "512"});
}

TEST(BadInput, AnImageInUseByAnotherMachineIsRefused) {
    const TemporaryDirectory directory;
    const std::string device = image_device(directory);
    const ProbeRun first{.scenario = "spin", .options = {"--device", device}};
    Process running(probe_command(first), Seconds(60));
    ASSERT_TRUE(running.wait_for_output("\n", Seconds(30)));
    expect_device_refused(device, {"in use"});
}

TEST(BadInput, AControlSocketInUseIsRefusedAndLeftAlone) {
    const TemporaryDirectory directory;
    const std::string path = directory.path("qmp");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
    const Fd listener(::socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    expect_refused({"--kernel", probe_image(), "--qmp", "unix:" + path}, {path, "in use"});
    EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(BadInput, ASerialThatIsNoneNamesTheValidOnes) {
    expect_refused({"--kernel", probe_image(), "--serial", "stdoi"}, {"stdoi", "stdio"});
}

TEST(BadInput, AnUnknownLogLevelNamesTheValidOnes) {
    expect_refused({"--kernel", probe_image(), "--log-level", "loud"}, {"loud", "warning"});
}

TEST(BadInput, ADebugExitPortInTheWayOfAnotherDeviceIsRefused) {
    expect_refused({"--kernel", probe_image(), "--debug-exit", "0x3f8"}, {"0x3f8"});
}

TEST(GoodInput, HelpAndVersionEndWithStatus0) {
    EXPECT_EQ(run({viaduct_program(), "run", "--help"}).status, 0);
    const Outcome version = run({viaduct_program(), "--version"});
    EXPECT_EQ(version.status, 0);
    EXPECT_EQ(version.out.rfind("viaduct ", 0), 0U) << version.out;
}

}  // namespace
}  // namespace viaduct::test
