#include "vdpa/export/exporter.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "vdpa/export/control_socket.hpp"
#include "vdpa/management/kernel_module.hpp"
#include "vdpa/management/vdpa_family.hpp"
#include "vdpa/soft/image/open_image.hpp"

namespace viaduct::vduse {
namespace {

/// A killed daemon's last I/O may take this long; only then is the image ours.
constexpr std::chrono::seconds patience_with_the_dead{30};
constexpr std::chrono::seconds patience_with_the_bus{10};
constexpr const char* management_device = "vduse";
const std::string class_folder = "/sys/class/vduse/";
/// VDUSE_MSG_DEFAULT_TIMEOUT (drivers/vdpa/vdpa_user/vduse_dev.c).
constexpr std::chrono::seconds usual_message_timeout{30};

constexpr unsigned most_queues = 64;
constexpr std::uint16_t smallest_queue = 4;
constexpr std::uint16_t largest_queue = 1024;
constexpr std::uint32_t largest_block = 4096;

/// Before there is a state, whose size they tell. Throws WrongOption.
ExportOptions checked(ExportOptions options) {
    try {
        check_name(options.name);
    } catch (const Error& wrong) {
        throw WrongOption("{}", wrong.what());
    }
    if (options.queues == 0 || options.queues > most_queues) {
        throw WrongOption("{} queues were asked for: --queues takes 1 to {}", options.queues,
                          most_queues);
    }
    if (!std::has_single_bit(options.queue_size) || options.queue_size < smallest_queue ||
        options.queue_size > largest_queue) {
        throw WrongOption(
            "a queue of {} entries was asked for: --queue-size takes a power of two from {} to {}",
            options.queue_size, smallest_queue, largest_queue);
    }
    if (options.block_size != soft::sector_bytes && options.block_size != largest_block) {
        throw WrongOption("blocks of {} bytes were asked for: --block-size takes {} or {}",
                          options.block_size, soft::sector_bytes, largest_block);
    }
    if (options.serial.size() > VIRTIO_BLK_ID_BYTES) {
        throw WrongOption("serial '{}' has {} bytes: at most {} fit", options.serial,
                          options.serial.size(), VIRTIO_BLK_ID_BYTES);
    }
    return options;
}

Control open_control(const ExportOptions& options) {
    management::load_module("vduse");
    if (options.attach) management::load_module(management::kernel_name(*options.attach));
    // What drives the disk that virtio_vdpa makes of it.
    if (options.attach == management::Driver::virtio) management::load_module("virtio_blk");
    return {};
}

/// Whether the vDPA device of this name is VDUSE's: the names on the bus are those of all parents.
bool is_on_the_bus(const std::string& name) {
    return management::VdpaBus().has(name) &&
           std::filesystem::exists(class_folder + name + "/" + name);
}

void refuse_another_parents(const std::string& name) {
    const auto device = management::VdpaFamily().device(name);
    if (!device || device->parent == management_device) return;
    throw Error(
        "there is a vDPA device '{}' of {} already: choose another name, or remove it (viaductctl "
        "devices del {})",
        name, device->parent, name);
}

/// A daemon that was killed is there until its last I/O is done.
const std::string& name_of_the_living(const ExportOptions& options) {
    const auto deadline = std::chrono::steady_clock::now() + patience_with_the_dead;
    while (StateFile::owner(state_folder, options.name) != 0 &&
           std::chrono::steady_clock::now() < deadline && !has_daemon(state_folder, options.name)) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return options.name;
}

soft::SoftDeviceOptions disk_options(const ExportOptions& options,
                                     std::span<soft::InFlightEntry> in_flight) {
    return {.image = options.image,
            .read_only = options.read_only,
            .queues = options.queues,
            .queue_size = options.queue_size,
            .serial = options.serial,
            .block_size = options.block_size,
            .pin_memory = options.pin_memory,
            .suspend = false,
            .log = {},
            .in_flight = in_flight};
}

/// The same from whichever folder and by whichever link it is named.
std::string identity_of(const std::string& image) {
    if (soft::network_image(image)) return image;
    std::error_code failed;
    const auto path =
        std::filesystem::weakly_canonical(std::filesystem::absolute(image, failed), failed);
    return failed ? image : path.string();
}

DeviceShape shape_of(const ExportOptions& options) {
    DeviceShape shape{.queues = options.queues,
                      .queue_size = options.queue_size,
                      .block_size = options.block_size,
                      .read_only = options.read_only ? 1U : 0U};
    const std::string image = identity_of(options.image);
    if (image.size() >= shape.image.size()) {
        throw WrongOption("the image's name has {} bytes, at most {} are taken: use a shorter path",
                          image.size(), shape.image.size() - 1);
    }
    std::ranges::copy(image, shape.image.begin());
    return shape;
}

}  // namespace

Exporter::Exporter(ExportOptions options)
    : options_(checked(std::move(options))),
      control_(open_control(options_)),
      state_(state_folder, name_of_the_living(options_)),
      log_("export '" + options_.name + "'") {
    taken_over_ = state_.is_inherited() && std::filesystem::exists("/dev/vduse/" + options_.name);
    try {
        begin();
    } catch (...) {
        if (!taken_over_) undo();
        throw;
    }
}

Exporter::~Exporter() = default;

void Exporter::begin() {
    refuse_another_parents(options_.name);
    const DeviceShape shape = shape_of(options_);
    if (!taken_over_) {
        state_.begin(shape);
    } else if (shape != state_.inherited_shape()) {
        throw Error(
            "{} is there, left by a daemon with another image or other options, and can only go on "
            "as it is: start it with the same command, or take it away with `viaduct-export stop "
            "{}`",
            options_.name, options_.name);
    }
    open_disk();
    make_device();
    serve_messages();
    attach();
}

void Exporter::open_disk() {
    soft::ImageOptions image{.name = options_.image,
                             .read_only = options_.read_only,
                             .lanes = options_.queues,
                             .owner = options_.name,
                             .reconnect_delay = options_.reconnect_delay};
    if (taken_over_) image.lock_patience = patience_with_the_dead;
    disk_ = std::make_unique<soft::SoftDevice>(soft::open_image(image),
                                               disk_options(options_, state_.in_flight()));
}

void Exporter::make_device() {
    std::vector<std::byte> config(disk_->config_size());
    disk_->read_config(0, config);
    const bool made = control_.create({.name = options_.name,
                                       .device_id = disk_->device_id(),
                                       .features = disk_->features(),
                                       .queues = disk_->queue_count(),
                                       .config = config});
    owned_ = made || taken_over_;
    if (!owned_) {
        throw Error(
            "a VDUSE device '{}' exists, and no export of ours made it: choose another name, or "
            "end "
            "the program that serves it",
            options_.name);
    }
    node_ = open_node(options_.name);
    allow_for_the_network();
    if (!is_on_the_bus(options_.name)) {
        for (unsigned queue = 0; queue < disk_->queue_count(); ++queue) {
            node_->set_up_queue(queue, options_.queue_size);
        }
    }
}

void Exporter::allow_for_the_network() const {
    if (!soft::network_image(options_.image)) return;
    std::ofstream file(class_folder + options_.name + "/msg_timeout");
    file << (options_.reconnect_delay + usual_message_timeout).count() << std::flush;
    if (!file) {
        log::warning(
            "{}: the kernel's limit for answers cannot be set: a server that is gone for longer "
            "than {} s may cost the device",
            options_.name, usual_message_timeout.count());
    }
}

void Exporter::serve_messages() {
    server_ = std::make_unique<DeviceServer>(
        DeviceServerSetup{.name = options_.name,
                          .node = *node_,
                          .disk = *disk_,
                          .log = log_,
                          .on_status = [this](std::uint8_t status) { state_.set_status(status); },
                          .bounce_bytes = [this] { return bounce_bytes(); }});
    messages_ = std::make_unique<EventLoop>("vduse");
    messages_->call([this] {
        if (taken_over_) server_->take_over(state_.status());
        messages_->watch(node_->fd(), [this, &loop = *messages_] {
            try {
                server_->serve();
            } catch (const Error& failure) {
                log::error("{}: its device is served no longer: {}", options_.name, failure.what());
                loop.unwatch(node_->fd());
            }
        });
    });
}

void Exporter::attach() {
    if (!is_on_the_bus(options_.name)) {
        management::NewDevice device;
        device.name = options_.name;
        device.parent = management_device;
        management::VdpaFamily().add(device);
    }
    node_name_ = options_.name;
    if (!options_.attach) return;
    // Whoever has bound a device anew that is taken over meant it.
    const bool is_bound = taken_over_ && bus_.driver(options_.name);
    if (!is_bound) bus_.bind(options_.name, *options_.attach);
    node_name_ = bus_.wait_for_node(options_.name, patience_with_the_bus).name;
}

std::uint64_t Exporter::bounce_bytes() const {
    std::uint64_t bytes = 0;
    std::ifstream(class_folder + options_.name + "/bounce_size") >> bytes;
    return bytes;
}

std::vector<management::DeviceUser> Exporter::users() const {
    // Somebody has taken it off the bus: nobody can use it.
    if (!is_on_the_bus(options_.name)) return {};
    return bus_.users(options_.name).users;
}

std::uint64_t Exporter::grow() {
    if (!messages_) {
        throw Error("{} is half taken away: `viaduct-export stop {}` goes on with that",
                    options_.name, options_.name);
    }
    const std::uint64_t sectors = messages_->call([this] { return server_->grow(); });
    return sectors * soft::sector_bytes;
}

void Exporter::remove() {
    if (owned_ && is_on_the_bus(options_.name)) management::VdpaFamily().remove(options_.name);
    messages_.reset();
    server_.reset();
    node_.reset();
    if (owned_) control_.destroy(options_.name);
    state_.remove();
}

void Exporter::undo() noexcept {
    try {
        remove();
    } catch (const std::exception& failure) {
        log::error("{}: {}", options_.name, failure.what());
    }
}

void remove_left_behind(const std::string& name) {
    check_name(name);
    StateFile state(state_folder, name);
    if (!state.is_inherited()) {
        state.remove();
        throw Error("there is no export '{}': `viaductctl devices` lists the host's devices", name);
    }
    if (is_on_the_bus(name)) {
        management::VdpaBus().refuse_when_in_use(name, "take it away");
        // Nobody is there to answer the driver that leaves.
        std::ofstream(class_folder + name + "/msg_timeout") << 1;
        management::VdpaFamily().remove(name);
    }
    if (std::filesystem::exists("/dev/vduse/" + name)) Control().destroy(name);
    forget_daemon(state_folder, name);
    state.remove();
}

}  // namespace viaduct::vduse
