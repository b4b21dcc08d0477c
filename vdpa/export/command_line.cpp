#include "vdpa/export/command_line.hpp"

#include <array>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "base/error.hpp"
#include "vdpa/export/control_socket.hpp"
#include "vdpa/export/daemon.hpp"
#include "vdpa/export/exporter.hpp"

namespace viaduct::vduse {
namespace {

using Attach = std::optional<management::Driver>;

constexpr const char* help_text =
    "viaduct-export run stays in the foreground and prints the device's node when it can be used.\n"
    "viaduct-export COMMAND --help tells more of a command.";

void add_run(CLI::App& app, ExportOptions& options, std::function<void()>& chosen) {
    CLI::App* const run = app.add_subcommand("run", "make a vDPA disk of an image, and serve it");
    run->add_option("--name", options.name, "of the device")->required();
    run->add_option("--image", options.image, "raw file, block device, nbd://… or rbd:POOL/IMAGE")
        ->required();
    run->add_option("--queues", options.queues, "1 to 64")->capture_default_str();
    run->add_option("--queue-size", options.queue_size,
                    "entries of a queue: a power of two up to 1024")
        ->capture_default_str();
    run->add_flag("--read-only", options.read_only, "refuse writes");
    run->add_option("--serial", options.serial, "what the guest reads as its serial number");
    run->add_option("--block-size", options.block_size, "bytes of a logical block: 512 or 4096")
        ->capture_default_str();
    run->add_flag(
        "--pin-memory", options.pin_memory,
        "the driver's memory for the kernel to find at once: faster, and all of it there");
    run->add_option_function<unsigned>(
           "--reconnect-delay",
           [&options](unsigned seconds) {
               options.reconnect_delay = std::chrono::seconds(seconds);
           },
           "seconds that requests wait for a network image's server that is gone (default: 30)")
        ->type_name("SECONDS");
    run->add_option_function<std::string>(
           "--attach",
           [&options](const std::string& word) {
               const std::map<std::string, Attach> words{{"vhost", management::Driver::vhost},
                                                         {"virtio", management::Driver::virtio},
                                                         {"none", std::nullopt}};
               const auto found = words.find(word);
               if (found == words.end()) {
                   throw CLI::ValidationError("--attach " + word +
                                              ": vhost, virtio or none is needed");
               }
               options.attach = found->second;
           },
           "who gets it: vhost (a VMM), virtio (this host, as a disk) or none (default: vhost)")
        ->type_name("vhost|virtio|none");
    run->callback([&] { chosen = [&options] { run_daemon(options); }; });
}

void stop(const std::string& name) {
    if (!has_daemon(state_folder, name)) return remove_left_behind(name);
    fmt::print("{}\n", ask_daemon(state_folder, name, "stop"));
}

void resize(const std::string& name) {
    fmt::print("{} has {} bytes now\n", name, ask_daemon(state_folder, name, "resize"));
}

void add_stop(CLI::App& app, std::string& name, std::function<void()>& chosen) {
    CLI::App* const command =
        app.add_subcommand("stop", "take a device away that nobody uses, and end its daemon");
    command->add_option("name", name, "of the device")->required();
    command->callback([&] { chosen = [&name] { stop(name); }; });
}

void add_resize(CLI::App& app, std::string& name, std::function<void()>& chosen) {
    CLI::App* const command =
        app.add_subcommand("resize", "the image has grown: tell the device and its driver");
    command->add_option("name", name, "of the device")->required();
    command->callback([&] { chosen = [&name] { resize(name); }; });
}

/// Errors of an image have the words of `viaduct run`'s options.
std::string in_own_words(std::string text) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 3> words{
        {{"readonly=on", "--read-only"},
         {"block-size=", "--block-size"},
         {"queues=", "--queues "}}};
    for (const auto& [theirs, own] : words) {
        for (auto at = text.find(theirs); at != std::string::npos; at = text.find(theirs, at)) {
            text.replace(at, theirs.size(), own);
        }
    }
    return text;
}

/// Nothing when help or the version was asked for and printed.
std::function<void()> parse(CLI::App& app, std::function<void()>& chosen, int argc,
                            const char* const* argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        const auto typed = app.get_subcommands();
        fmt::print("{}", typed.empty() ? app.help() : typed.front()->help(app.get_name()));
        return {};
    } catch (const CLI::CallForVersion& version) {
        fmt::print("viaduct-export {}\n", version.what());
        return {};
    }
    return chosen;
}

}  // namespace

int run(int argc, const char* const* argv) noexcept {
    try {
        CLI::App app{"Makes vDPA block devices of images, by VDUSE", "viaduct-export"};
        ExportOptions options;
        std::string name;
        std::function<void()> chosen;
        app.set_version_flag("--version", VIADUCT_VERSION);
        app.footer(help_text);
        app.require_subcommand(1);
        add_run(app, options, chosen);
        add_stop(app, name, chosen);
        add_resize(app, name, chosen);
        if (const auto command = parse(app, chosen, argc, argv)) command();
        return 0;
    } catch (const CLI::ParseError& wrong) {
        fmt::print(stderr, "viaduct-export: {} (--help tells more)\n", wrong.what());
        return 2;
    } catch (const WrongOption& wrong) {
        fmt::print(stderr, "viaduct-export: {}\n", wrong.what());
        return 2;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "viaduct-export: {}\n", in_own_words(failure.what()));
        return 1;
    }
}

}  // namespace viaduct::vduse
