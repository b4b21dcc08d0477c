// The command line of `viaduct run`: what it means, and what each mistake is told.
#include "vmm/config.hpp"

#include <vector>

#include <gmock/gmock.h>

#include "base/error.hpp"

namespace viaduct::vmm {
namespace {

using datapath::Policy;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::ThrowsMessage;

std::optional<Config> parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "viaduct");
    std::vector<char*> argv;
    argv.reserve(arguments.size());
    for (std::string& argument : arguments) argv.push_back(argument.data());
    return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

/// `viaduct run --kernel k` and what a test adds.
Config run(std::vector<std::string> arguments) {
    const std::vector<std::string> needed{"run", "--kernel", "k"};
    arguments.insert(arguments.begin(), needed.begin(), needed.end());
    return parse(arguments).value();
}

DeviceConfig device(const std::string& text) {
    return parse_device(text, 0);
}

TEST(Config, HasDefaultsForAllButTheKernel) {
    const Config config = run({});
    EXPECT_EQ(config.kernel, "k");
    EXPECT_EQ(config.memory, 512ULL << 20);
    EXPECT_EQ(config.page_size, PageSize::small);
    EXPECT_EQ(config.cpus, 1U);
    EXPECT_EQ(config.serial, "stdio");
    EXPECT_EQ(config.log_level, log::Level::warning);
    EXPECT_EQ(config.debug_exit_port, std::nullopt);
    EXPECT_THAT(config.devices, IsEmpty());
    EXPECT_THAT(config.qmp, IsEmpty());
}

TEST(Config, TakesEveryOption) {
    const Config config =
        run({"--initrd", "i", "--append", "console=ttyS0 quiet", "--memory", "2G,hugepages=on",
             "--cpus", "4", "--serial", "file:out", "--qmp", "unix:/run/vm.sock", "--name", "vm1",
             "--log-level", "debug", "--device", "vdpa,path=/dev/vhost-vdpa-0"});
    EXPECT_EQ(config.initrd, "i");
    EXPECT_EQ(config.append, "console=ttyS0 quiet");
    EXPECT_EQ(config.memory, 2ULL << 30);
    EXPECT_EQ(config.page_size, PageSize::huge);
    EXPECT_EQ(config.cpus, 4U);
    EXPECT_EQ(config.serial, "file:out");
    EXPECT_THAT(config.qmp, ElementsAre("unix:/run/vm.sock"));
    EXPECT_EQ(config.name, "vm1");
    EXPECT_EQ(config.log_level, log::Level::debug);
    ASSERT_THAT(config.devices, SizeIs(1));
    EXPECT_EQ(config.devices[0].path, "/dev/vhost-vdpa-0");
}

TEST(Config, TakesOptionsWithAnEqualsSign) {
    EXPECT_EQ(run({"--memory=1G"}).memory, 1ULL << 30);
    EXPECT_EQ(run({"--device=vdpa,image=x"}).devices.size(), 1U);
}

TEST(Config, DevicesAndControlSocketsMayBeSeveral) {
    const Config config = run({"--device", "vdpa,path=/dev/a", "--device", "vdpa,image=b,id=root",
                               "--device", "vdpa,fd=7", "--qmp", "unix:a", "--qmp", "unix:b"});
    ASSERT_THAT(config.devices, SizeIs(3));
    EXPECT_EQ(config.devices[0].id, "vdpa0");
    EXPECT_EQ(config.devices[1].id, "root");
    EXPECT_EQ(config.devices[2].id, "vdpa2");
    EXPECT_EQ(config.devices[2].fd, 7);
    EXPECT_THAT(config.qmp, ElementsAre("unix:a", "unix:b"));
}

TEST(Config, DebugExitHasAPortOfItsOwn) {
    EXPECT_EQ(run({"--debug-exit"}).debug_exit_port, 0xf4);
    EXPECT_EQ(run({"--debug-exit", "0x501"}).debug_exit_port, 0x501);
    EXPECT_EQ(run({"--debug-exit=1281"}).debug_exit_port, 0x501);
    EXPECT_EQ(run({"--debug-exit", "--cpus", "2"}).debug_exit_port, 0xf4);
}

TEST(Config, ADebugExitPortThatIsNoneNamesTheRange) {
    for (const auto* const port : {"0", "65536", "port"}) {
        EXPECT_THAT(
            [&] {
                run({"--debug-exit", port});
            },
            ThrowsMessage<Error>(
                AllOf(HasSubstr("--debug-exit"), HasSubstr(port), HasSubstr("65535"))));
    }
}

TEST(Config, HelpAndVersionArePrintedAndNothingRuns) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(parse({"run", "--help"}), std::nullopt);
    const std::string help = testing::internal::GetCapturedStdout();
    for (const auto* const option :
         {"--kernel", "--initrd", "--append", "--memory", "--cpus", "--device", "--serial", "--qmp",
          "--debug-exit", "--name", "--log-level"}) {
        EXPECT_THAT(help, HasSubstr(option));
    }
    testing::internal::CaptureStdout();
    EXPECT_EQ(parse({"--version"}), std::nullopt);
    EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::StartsWith("viaduct "));
}

TEST(Config, WithoutACommandOrAKernelSaysWhatIsMissing) {
    EXPECT_THAT([] { parse({}); }, ThrowsMessage<Error>(HasSubstr("subcommand")));
    EXPECT_THAT([] { parse({"run"}); },
                ThrowsMessage<Error>(AllOf(HasSubstr("--kernel"), HasSubstr("--help"))));
}

TEST(Config, AnUnknownOptionNamesTheNearest) {
    EXPECT_THAT(
        [] {
            run({"--memroy", "1G"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("'--memroy'"), HasSubstr("'--memory'"))));
    EXPECT_THAT(
        [] {
            parse({"run", "--kernl", "k"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("'--kernl'"), HasSubstr("'--kernel'"))));
    EXPECT_THAT([] { run({"leftover"}); }, ThrowsMessage<Error>(HasSubstr("'leftover'")));
}

TEST(Config, AnUnknownCommandNamesTheNearest) {
    EXPECT_THAT(
        [] {
            parse({"rnu", "--kernel", "k"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("command 'rnu'"), HasSubstr("'run'"))));
    EXPECT_THAT([] { parse({"rnu"}); }, ThrowsMessage<Error>(HasSubstr("command 'rnu'")));
}

TEST(Config, AnOptionBeforeTheCommandSaysWhereItBelongs) {
    for (const auto* const option : {"--memory", "--memroy"}) {
        EXPECT_THAT(
            [&] {
                parse({option, "1G", "run", "--kernel", "k"});
            },
            ThrowsMessage<Error>(AllOf(HasSubstr(option), HasSubstr("stands before the command"),
                                       HasSubstr("'viaduct run --memory ..."))));
    }
    EXPECT_THAT(
        [] {
            parse({"--memory", "1G"});
        },
        ThrowsMessage<Error>(HasSubstr("'viaduct run --memory ...")));
    EXPECT_THAT([] { parse({"--vesion"}); },
                ThrowsMessage<Error>(AllOf(HasSubstr("'--vesion'"), HasSubstr("'--version'"))));
}

TEST(Config, WhatStandsBehindTheCommandIsNoCommand) {
    EXPECT_THAT(
        [] {
            parse({"run", "--kernel", "k", "--", "leftover"});
        },
        ThrowsMessage<Error>(HasSubstr("not expected: leftover")));
}

TEST(Config, CpusAreFrom1To64) {
    EXPECT_EQ(run({"--cpus", "64"}).cpus, 64U);
    for (const auto* const cpus : {"0", "65", "-1", "many"}) {
        EXPECT_THAT(
            [&] {
                run({"--cpus", cpus});
            },
            ThrowsMessage<Error>(HasSubstr("--cpus")))
            << cpus;
    }
}

TEST(Config, AnUnknownLogLevelNamesTheValidOnes) {
    EXPECT_THAT(
        [] {
            run({"--log-level", "loud"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("'loud'"), HasSubstr("debug, info, warning"))));
}

TEST(Config, AnUnknownMemoryPropertyNamesTheNearest) {
    EXPECT_THAT(
        [] {
            run({"--memory", "1G,hugepage=on"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("'hugepage'"), HasSubstr("'hugepages'"))));
    EXPECT_THAT(
        [] {
            run({"--memory", "1G,hugepages=maybe"});
        },
        ThrowsMessage<Error>(HasSubstr("hugepages=maybe")));
}

TEST(Config, TwoDevicesWithOneIdAreRefused) {
    EXPECT_THAT(
        [] {
            run({"--device", "vdpa,path=a,id=x", "--device", "vdpa,path=b,id=x"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("'x'"), HasSubstr("twice"))));
    EXPECT_THAT(
        [] {
            run({"--device", "vdpa,path=a,id=vdpa1", "--device", "vdpa,path=b"});
        },
        ThrowsMessage<Error>(HasSubstr("'vdpa1'")));
}

TEST(Config, OneDescriptorIsNoTwoDevices) {
    EXPECT_THAT(
        [] {
            run({"--device", "vdpa,fd=7", "--device", "vdpa,fd=7"});
        },
        ThrowsMessage<Error>(AllOf(HasSubstr("fd=7"), HasSubstr("twice"))));
}

TEST(Config, MoreDevicesThanAMachineHasRoomForAreCounted) {
    const auto run_with = [](std::size_t devices) {
        return run(std::vector<std::string>(devices, "--device=vdpa,image=x"));
    };
    EXPECT_THAT(run_with(31).devices, SizeIs(31));
    EXPECT_THAT([&] { run_with(32); },
                ThrowsMessage<Error>(AllOf(HasSubstr("32 times"), HasSubstr("room for 31"))));
}

TEST(Config, AThrottleGroupHasLimitsOnce) {
    const std::string first = "vdpa,path=a,throttle.group=g,throttle.iops-total=100";
    EXPECT_THAT(
        [&] {
            run({"--device", first, "--device",
                 "vdpa,path=b,throttle.group=g,throttle.iops-total=200"});
        },
        ThrowsMessage<Error>(
            AllOf(HasSubstr("'vdpa0'"), HasSubstr("'vdpa1'"), HasSubstr("group 'g'"))));
    EXPECT_THAT(
        [&] {
            run({"--device", first, "--device", "vdpa,path=b,id=g,throttle.bps-total=1000"});
        },
        ThrowsMessage<Error>(HasSubstr("group 'g'")));
    EXPECT_THAT(run({"--device", first, "--device", first, "--device", "vdpa,path=b", "--device",
                     "vdpa,path=c,throttle.group=g"})
                    .devices,
                SizeIs(4));
}

TEST(MemorySize, IsInMebibytesUnlessItSaysOtherwise) {
    EXPECT_EQ(parse_size("512"), 512ULL << 20);
    EXPECT_EQ(parse_size("512M"), 512ULL << 20);
    EXPECT_EQ(parse_size("512m"), 512ULL << 20);
    EXPECT_EQ(parse_size("2G"), 2ULL << 30);
    EXPECT_EQ(parse_size("1g"), 1ULL << 30);
    EXPECT_EQ(parse_size("4096K"), 4ULL << 20);
    EXPECT_EQ(parse_size("1T"), 1ULL << 40);
    EXPECT_EQ(parse_size("16777215T"), 16777215ULL << 40);
}

TEST(MemorySize, ThatIsNoneSaysHowToWriteIt) {
    for (const auto* const text : {"", "M", "0", "0G", "lots", "1X", "1GB", "1.5G", "-1G", " 1G",
                                   "16777216T", "99999999999999999999"}) {
        EXPECT_THAT([&] { (void)parse_size(text); },
                    ThrowsMessage<Error>(
                        AllOf(HasSubstr(std::string("'") + text + "'"), HasSubstr("512M or 2G"))))
            << text;
    }
}

TEST(DeviceOption, TakesEveryProperty) {
    const DeviceConfig kernel =
        device("vdpa,path=/dev/vhost-vdpa-0,id=disk0,datapath=fast-only,queue-size=128");
    EXPECT_EQ(kernel.path, "/dev/vhost-vdpa-0");
    EXPECT_EQ(kernel.id, "disk0");
    EXPECT_EQ(kernel.policy, Policy::fast_only);
    EXPECT_EQ(kernel.queue_size, 128);
    const DeviceConfig embedded =
        device("vdpa,image=disk.raw,queues=4,readonly=on,serial=viaduct-1,suspend=off");
    EXPECT_EQ(embedded.image, "disk.raw");
    EXPECT_EQ(embedded.queues, 4U);
    EXPECT_TRUE(embedded.read_only);
    EXPECT_EQ(embedded.serial, "viaduct-1");
    EXPECT_FALSE(embedded.suspend);
    EXPECT_FALSE(embedded.pin_memory);
    EXPECT_TRUE(device("vdpa,image=disk.raw").suspend);
    EXPECT_TRUE(device("vdpa,image=disk.raw,pin-memory=on").pin_memory);
    const DeviceConfig slow = device("vdpa,path=a,datapath=slow,poll-us=50");
    EXPECT_EQ(slow.policy, Policy::slow);
    EXPECT_EQ(slow.poll, std::chrono::microseconds(50));
    EXPECT_EQ(embedded.poll, std::nullopt);
    EXPECT_EQ(embedded.policy, std::nullopt);
    EXPECT_EQ(embedded.queue_size, std::nullopt);
}

TEST(DeviceOption, KnowsTheDataPathsByName) {
    EXPECT_EQ(device("vdpa,path=a,datapath=auto").policy, Policy::automatic);
    EXPECT_EQ(device("vdpa,path=a,datapath=fast").policy, Policy::fast);
    EXPECT_EQ(device("vdpa,path=a,datapath=fast-only").policy, Policy::fast_only);
    EXPECT_THAT([] { device("vdpa,path=a,datapath=quick"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("datapath=quick"), HasSubstr("fast-only"))));
}

TEST(DeviceOption, TakesEveryLimit) {
    const DeviceConfig all = device(
        "vdpa,path=a,throttle.group=g,throttle.iops-size=4096,"
        "throttle.bps-read=1,throttle.bps-read-max=2,throttle.bps-read-max-length=3,"
        "throttle.bps-write=4,throttle.bps-write-max=5,throttle.bps-write-max-length=6,"
        "throttle.iops-read=7,throttle.iops-read-max=8,throttle.iops-read-max-length=9,"
        "throttle.iops-write=10,throttle.iops-write-max=11,throttle.iops-write-max-length=12");
    EXPECT_EQ(all.throttle.group, "g");
    EXPECT_EQ(all.throttle.limits, (datapath::ThrottleLimits{.bps_rd = {1, 2, 3},
                                                             .bps_wr = {4, 5, 6},
                                                             .iops_rd = {7, 8, 9},
                                                             .iops_wr = {10, 11, 12},
                                                             .iops_size = 4096}));
    const DeviceConfig total = device(
        "vdpa,path=a,throttle.bps-total=1,throttle.bps-total-max=2,throttle.bps-total-max-length=3,"
        "throttle.iops-total=4,throttle.iops-total-max=5,throttle.iops-total-max-length=6");
    EXPECT_EQ(total.throttle.limits,
              (datapath::ThrottleLimits{.bps = {1, 2, 3}, .iops = {4, 5, 6}}));
    EXPECT_EQ(total.throttle.group, "");
}

TEST(DeviceOption, LimitsThatContradictEachOtherAreRefused) {
    EXPECT_THAT([] { device("vdpa,path=a,throttle.iops-total=1,throttle.iops-read=1"); },
                ThrowsMessage<Error>(HasSubstr("exclude each other")));
    EXPECT_THAT([] { device("vdpa,path=a,throttle.iops-total=many"); },
                ThrowsMessage<Error>(HasSubstr("throttle.iops-total=many")));
}

TEST(DeviceOption, IsVdpaAndNothingElse) {
    EXPECT_THAT(
        [] { device("virtio-blk-pci,drive=x"); },
        ThrowsMessage<Error>(AllOf(HasSubstr("'virtio-blk-pci'"), HasSubstr("vdpa,path="))));
}

TEST(DeviceOption, NeedsExactlyOneSource) {
    EXPECT_THAT([] { device("vdpa"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("path="), HasSubstr("image="),
                                           HasSubstr("fd="), HasSubstr("0 are given"))));
    for (const auto* const text :
         {"vdpa,path=a,image=b", "vdpa,path=a,fd=3", "vdpa,image=b,fd=3"}) {
        EXPECT_THAT([&] { device(text); }, ThrowsMessage<Error>(HasSubstr("2 are given"))) << text;
    }
    EXPECT_THAT([] { device("vdpa,path="); }, ThrowsMessage<Error>(HasSubstr("0 are given")));
}

TEST(DeviceOption, WhatBelongsToTheEmbeddedDeviceGoesWithImageOnly) {
    for (const auto* const text :
         {"vdpa,path=a,queues=2", "vdpa,path=a,readonly=on", "vdpa,fd=3,serial=x",
          "vdpa,path=a,suspend=off", "vdpa,path=a,pin-memory=on"}) {
        EXPECT_THAT([&] { device(text); },
                    ThrowsMessage<Error>(AllOf(HasSubstr(text), HasSubstr("image= only"))));
    }
}

TEST(DeviceOption, ANetworkImageIsWaitedForAsLongAsAsked) {
    const DeviceConfig given = device("vdpa,image=nbd://host/disk?tls-type=psk,reconnect-delay=5");
    EXPECT_EQ(given.image, "nbd://host/disk?tls-type=psk");
    EXPECT_EQ(given.reconnect_delay, std::chrono::seconds(5));
    EXPECT_EQ(device("vdpa,image=rbd:pool/disk").reconnect_delay, std::chrono::seconds(30));
    for (const auto* const text :
         {"vdpa,image=disk.raw,reconnect-delay=30", "vdpa,path=a,reconnect-delay=5"}) {
        EXPECT_THAT([&] { device(text); },
                    ThrowsMessage<Error>(AllOf(HasSubstr(text), HasSubstr("on a network only"))));
    }
}

TEST(DeviceOption, AnUnknownPropertyNamesTheNearest) {
    EXPECT_THAT([] { device("vdpa,pth=a"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("'pth'"), HasSubstr("'path'"))));
    EXPECT_THAT([] { device("vdpa,path=a,queue_size=1"); },
                ThrowsMessage<Error>(HasSubstr("'queue-size'")));
}

TEST(DeviceOption, NumbersOutOfRangeNameTheRange) {
    EXPECT_THAT([] { device("vdpa,path=a,queue-size=0"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("queue-size=0"), HasSubstr("1 to 32768"))));
    EXPECT_THAT([] { device("vdpa,path=a,queue-size=65536"); },
                ThrowsMessage<Error>(HasSubstr("queue-size=65536")));
    EXPECT_THAT([] { device("vdpa,image=a,queues=65"); },
                ThrowsMessage<Error>(HasSubstr("1 to 64")));
    EXPECT_THAT([] { device("vdpa,fd=stdin"); }, ThrowsMessage<Error>(HasSubstr("fd=stdin")));
}

TEST(DeviceOption, AQueueSizeThatIsNoPowerOfTwoNamesTheOnesBesideIt) {
    EXPECT_THAT([] { device("vdpa,path=a,queue-size=100"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("queue-size=100"), HasSubstr("64 or 128"))));
}

TEST(DeviceOption, APathMayHoldACommaWrittenTwice) {
    EXPECT_EQ(device("vdpa,image=a,,b.raw").image, "a,b.raw");
}

}  // namespace
}  // namespace viaduct::vmm
