#include "tests/support/fake_vhost_node.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "vdpa/vhost/uapi.hpp"

namespace viaduct::test {
namespace {

namespace status = virtio::status;

template <typename T>
T load(const void* argument) {
    T value{};
    std::memcpy(&value, argument, sizeof value);
    return value;
}

template <typename T>
void store(void* argument, const T& value) {
    std::memcpy(argument, &value, sizeof value);
}

// How a call's argument reads in the log.
std::string nothing(const void*) {
    return {};
}
template <typename T>
std::string bits(const void* argument) {
    return fmt::format(" {:#x}", load<T>(argument));
}
std::string queue(const void* argument) {
    return fmt::format(" {}", load<std::uint32_t>(argument));
}
std::string queue_and_number(const void* argument) {
    const auto state = load<vhost_vring_state>(argument);
    return fmt::format(" {} {}", state.index, state.num);
}
std::string queue_and_addresses(const void* argument) {
    const auto ring = load<vhost_vring_addr>(argument);
    return fmt::format(" {} {:#x} {:#x} {:#x}", std::uint32_t{ring.index},
                       std::uint64_t{ring.desc_user_addr}, std::uint64_t{ring.avail_user_addr},
                       std::uint64_t{ring.used_user_addr});
}
std::string config_range(const void* argument) {
    const auto header = load<vhost_vdpa_config>(argument);
    return fmt::format(" {} {}", header.off, header.len);
}

std::size_t page_size() {
    return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

Fd duplicate(std::uint32_t fd) {
    return Fd(::dup(static_cast<int>(fd)));
}

}  // namespace

class FakeVhostNode::Handle final : public vhost::Node {
public:
    explicit Handle(FakeVhostNode& node) : node_(node) {}
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;
    ~Handle() override {
        const std::lock_guard lock(node_.mutex_);
        node_.close();
    }

    int ioctl(unsigned long request, void* argument) override {
        const std::lock_guard lock(node_.mutex_);
        errno = node_.answer(request, argument);
        return errno == 0 ? 0 : -1;
    }

    bool write(std::span<const std::byte> message) override {
        const std::lock_guard lock(node_.mutex_);
        const bool whole = message.size() == sizeof(vhost_msg_v2);
        const int error = whole ? node_.handle_message(load<vhost_msg_v2>(message.data())) : EINVAL;
        // Whatever is wrong with a message, vhost says EFAULT.
        errno = error != 0 && whole ? EFAULT : error;
        return error == 0;
    }

    Mapping map_doorbell(unsigned queue) override {
        const std::lock_guard lock(node_.mutex_);
        if (!node_.answers.has_doorbells || queue >= node_.doorbells_.size()) return {};
        const Mapping& page = node_.doorbells_[queue];
        // With an old size of 0, mremap(2) maps a shared page once more.
        void* again = ::mremap(page.data(), 0, page.size(), MREMAP_MAYMOVE);
        if (again == MAP_FAILED) throw SystemError("mremap of a doorbell");
        return Mapping::adopt({static_cast<std::byte*>(again), page.size()});
    }

private:
    FakeVhostNode& node_;
};

struct FakeVhostNode::Call {
    unsigned long request;
    const char* name;
    std::string (*describe)(const void* argument);
    int (FakeVhostNode::*answer)(void* argument);
};

/// A call that only tells something: as many bytes are written as the value has, and no more.
template <auto value>
int FakeVhostNode::tell(void* argument) {
    store(argument, value(*this));
    return 0;
}

/// A call on one queue, whose index and number stand in the same places whether that is a
/// vhost_vring_state or a vhost_vring_file.
template <int (FakeVhostNode::*set)(FakeVdpaParent::Queue&, std::uint32_t)>
int FakeVhostNode::set_vring(void* argument) {
    const auto state = load<vhost_vring_state>(argument);
    if (state.index >= parent_.queues.size()) return ENOBUFS;
    return (this->*set)(parent_.queues[state.index], state.num);
}

std::span<const FakeVhostNode::Call> FakeVhostNode::calls() {
    using Fake = FakeVhostNode;
    using Node = const FakeVhostNode&;
    static constexpr auto device_id = [](Node node) { return node.answers.device_id; };
    static constexpr auto features = [](Node node) { return node.answers.features; };
    static constexpr auto backend = [](Node node) { return node.answers.backend_features; };
    static constexpr auto config_size = [](Node node) {
        return static_cast<std::uint32_t>(node.answers.config.size());
    };
    static constexpr auto iova_range = [](Node node) {
        return vhost_vdpa_iova_range{node.answers.first_iova, node.answers.last_iova};
    };
    static constexpr auto queue_count = [](Node node) {
        return static_cast<std::uint32_t>(node.parent_.queues.size());
    };
    static constexpr auto vring_num = [](Node node) { return node.answers.vring_num; };
    static constexpr auto device_status = [](Node node) { return node.status_; };
    static const Call all[]{
        {VHOST_VDPA_GET_DEVICE_ID, "GET_DEVICE_ID", nothing, &Fake::tell<device_id>},
        {VHOST_GET_FEATURES, "GET_FEATURES", nothing, &Fake::tell<features>},
        {VHOST_GET_BACKEND_FEATURES, "GET_BACKEND_FEATURES", nothing, &Fake::tell<backend>},
        {VHOST_VDPA_GET_CONFIG_SIZE, "GET_CONFIG_SIZE", nothing, &Fake::tell<config_size>},
        {VHOST_VDPA_GET_IOVA_RANGE, "GET_IOVA_RANGE", nothing, &Fake::tell<iova_range>},
        {VHOST_VDPA_GET_VQS_COUNT, "GET_VQS_COUNT", nothing, &Fake::tell<queue_count>},
        {VHOST_VDPA_GET_VRING_NUM, "GET_VRING_NUM", nothing, &Fake::tell<vring_num>},
        {VHOST_VDPA_GET_STATUS, "GET_STATUS", nothing, &Fake::tell<device_status>},
        {VHOST_SET_OWNER, "SET_OWNER", nothing, &Fake::set_owner},
        {VHOST_SET_BACKEND_FEATURES, "SET_BACKEND_FEATURES", bits<std::uint64_t>,
         &Fake::set_backend_features},
        {VHOST_SET_FEATURES, "SET_FEATURES", bits<std::uint64_t>, &Fake::set_features},
        {VHOST_VDPA_SET_STATUS, "SET_STATUS", bits<std::uint8_t>, &Fake::set_status},
        {VHOST_VDPA_GET_CONFIG, "GET_CONFIG", config_range, &Fake::get_config},
        {VHOST_VDPA_SET_CONFIG, "SET_CONFIG", config_range, &Fake::set_config},
        {VHOST_VDPA_GET_VRING_SIZE, "GET_VRING_SIZE", queue, &Fake::get_vring_size},
        {VHOST_GET_VRING_BASE, "GET_VRING_BASE", queue, &Fake::get_vring_base},
        {VHOST_SET_VRING_ADDR, "SET_VRING_ADDR", queue_and_addresses, &Fake::set_vring_addresses},
        {VHOST_SET_VRING_NUM, "SET_VRING_NUM", queue_and_number,
         &Fake::set_vring<&Fake::set_vring_num>},
        {VHOST_SET_VRING_BASE, "SET_VRING_BASE", queue_and_number,
         &Fake::set_vring<&Fake::set_vring_base>},
        {VHOST_VDPA_SET_VRING_ENABLE, "SET_VRING_ENABLE", queue_and_number,
         &Fake::set_vring<&Fake::set_vring_enable>},
        {VHOST_SET_VRING_KICK, "SET_VRING_KICK", queue, &Fake::set_vring<&Fake::set_vring_kick>},
        {VHOST_SET_VRING_CALL, "SET_VRING_CALL", queue, &Fake::set_vring<&Fake::set_vring_call>},
        {VHOST_VDPA_SET_CONFIG_CALL, "SET_CONFIG_CALL", nothing, &Fake::set_config_call},
        {VHOST_VDPA_SUSPEND, "SUSPEND", nothing, &Fake::suspend},
        {VHOST_VDPA_RESUME, "RESUME", nothing, &Fake::resume},
    };
    return all;
}

FakeVhostNode::FakeVhostNode(const std::string& recording)
    : answers(read_answers(recording)), parent_(0) {}

FakeVhostNode::~FakeVhostNode() {
    stop_serving();
}

std::unique_ptr<vhost::Node> FakeVhostNode::open() {
    const std::lock_guard lock(mutex_);
    if (is_open_) throw SystemError("open", EBUSY);
    log_.emplace_back("open");
    is_open_ = true;
    parent_ = FakeVdpaParent(answers.queue_sizes.size());
    for (std::size_t queue = doorbells_.size(); queue < answers.queue_sizes.size(); ++queue) {
        doorbells_.emplace_back("doorbell", page_size(), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS);
    }
    reset();
    return std::make_unique<Handle>(*this);
}

void FakeVhostNode::close() {
    log_.emplace_back("close");
    if (parent_.in_flight()) ++resets_in_flight_;
    reset();
    iotlb_ = {};
    parent_ = FakeVdpaParent(0);
    backend_features_ = 0;
    owned_ = false;
    is_open_ = false;
}

int FakeVhostNode::answer(unsigned long request, void* argument) {
    const auto known = calls();
    const auto call = std::find_if(known.begin(), known.end(), [&](const Call& candidate) {
        return candidate.request == request;
    });
    if (call == known.end()) {
        log_.push_back(fmt::format("unknown ioctl {:#x}", request));
        return ENOTTY;
    }
    log_.push_back(call->name + call->describe(argument));
    int error = 0;
    if (take_failure(call->name, error)) return error;
    return (this->*call->answer)(argument);
}

int FakeVhostNode::handle_message(const vhost_msg_v2& message) {
    const std::string name = FakeIotlb::name_of(message.iotlb.type);
    log_.push_back(name + FakeIotlb::describe(message.iotlb));
    int error = 0;
    if (take_failure(name, error)) return error;
    if (message.type != VHOST_IOTLB_MSG_V2) return EINVAL;
    if (!owned_) return EPERM;
    error = iotlb_.handle(message.iotlb, answers.first_iova, answers.last_iova);
    if (!iotlb_.in_batch()) parent_.set_map(iotlb_.entries());
    return error;
}

int FakeVhostNode::set_owner(void* /*argument*/) {
    return std::exchange(owned_, true) ? EBUSY : 0;
}

int FakeVhostNode::set_backend_features(void* argument) {
    const auto wanted = load<std::uint64_t>(argument);
    if ((wanted & ~answers.backend_features) != 0) return EOPNOTSUPP;
    backend_features_ = wanted;
    return 0;
}

int FakeVhostNode::set_features(void* argument) {
    const auto features = load<std::uint64_t>(argument);
    if ((status_ & status::features_ok) != 0) return EBUSY;
    const bool complete =
        !answers.needs_access_platform || (features & virtio::feature::access_platform) != 0;
    if ((features & ~answers.features) != 0 || !complete) return EINVAL;
    accepted_features_ = features;
    features_valid_ = true;
    return 0;
}

int FakeVhostNode::set_status(void* argument) {
    auto wanted = load<std::uint8_t>(argument);
    if (wanted == 0) {
        if (parent_.in_flight()) ++resets_in_flight_;
        reset();
        return 0;
    }
    if ((status_ & ~wanted & ~status::needs_reset) != 0) return EINVAL;
    if (refuses_features_ok_) wanted &= static_cast<std::uint8_t>(~status::features_ok);
    const bool starts = (wanted & ~status_ & status::driver_ok) != 0;
    status_ |= wanted;
    if (starts) parent_.start();
    return 0;
}

void FakeVhostNode::reset() {
    status_ = 0;
    accepted_features_ = 0;
    features_valid_ = false;
    if (config_before_writes_) answers.config = *std::exchange(config_before_writes_, {});
    parent_.reset(has_backend_feature(VHOST_BACKEND_F_IOTLB_PERSIST));
}

int FakeVhostNode::get_config(void* argument) {
    // As vdpa_get_config() of drivers/vdpa/vdpa.c: a driver that never told accepts none.
    if (!std::exchange(features_valid_, true)) accepted_features_ = 0;
    const auto header = load<vhost_vdpa_config>(argument);
    if (header.len == 0) return EINVAL;
    if (header.off > answers.config.size() || header.len > answers.config.size() - header.off) {
        return E2BIG;
    }
    std::memcpy(static_cast<std::byte*>(argument) + sizeof header,
                answers.config.data() + header.off, header.len);
    return 0;
}

int FakeVhostNode::set_config(void* argument) {
    const auto header = load<vhost_vdpa_config>(argument);
    if (header.len == 0) return EINVAL;
    if (header.off > answers.config.size() || header.len > answers.config.size() - header.off) {
        return E2BIG;
    }
    const std::byte* const first = static_cast<std::byte*>(argument) + sizeof header;
    if (!config_before_writes_) config_before_writes_ = answers.config;
    config_writes_.emplace_back(header.off, std::vector(first, first + header.len));
    std::memcpy(answers.config.data() + header.off, first, header.len);
    return 0;
}

int FakeVhostNode::get_vring_size(void* argument) {
    auto state = load<vhost_vring_state>(argument);
    if (!owned_) return EPERM;
    if (state.index >= parent_.queues.size()) return ENOBUFS;
    state.num = answers.queue_sizes[state.index];
    if (state.num == 0) return EOPNOTSUPP;
    store(argument, state);
    return 0;
}

int FakeVhostNode::get_vring_base(void* argument) {
    auto state = load<vhost_vring_state>(argument);
    if (!owned_) return EPERM;
    if (state.index >= parent_.queues.size()) return ENOBUFS;
    if (!rings_may_change()) return EINVAL;
    state.num = parent_.queues[state.index].base;
    store(argument, state);
    return 0;
}

int FakeVhostNode::set_vring_addresses(void* argument) {
    const auto ring = load<vhost_vring_addr>(argument);
    if (!owned_) return EPERM;
    if (ring.index >= parent_.queues.size()) return ENOBUFS;
    if (!rings_may_change()) return EINVAL;
    parent_.queues[ring.index].addresses = ring;
    return 0;
}

// The table of calls takes functions of one type.
// NOLINTBEGIN(readability-make-member-function-const)
int FakeVhostNode::set_vring_num(FakeVdpaParent::Queue& queue, std::uint32_t entries) {
    if (!owned_) return EPERM;
    if (!std::has_single_bit(entries) || entries > answers.vring_num) return EINVAL;
    queue.size = entries;
    return 0;
}

int FakeVhostNode::set_vring_base(FakeVdpaParent::Queue& queue, std::uint32_t base) {
    if (!owned_) return EPERM;
    if (base > 0xffff || !rings_may_change()) return EINVAL;
    queue.base = static_cast<std::uint16_t>(base);
    return 0;
}

int FakeVhostNode::set_vring_enable(FakeVdpaParent::Queue& queue, std::uint32_t enabled) {
    if (!owned_) return EPERM;
    queue.ready = enabled != 0;
    return 0;
}

int FakeVhostNode::set_vring_kick(FakeVdpaParent::Queue& queue, std::uint32_t fd) {
    if (!owned_) return EPERM;
    queue.kick = duplicate(fd);
    return 0;
}

int FakeVhostNode::set_vring_call(FakeVdpaParent::Queue& queue, std::uint32_t fd) {
    if (!owned_) return EPERM;
    queue.call = duplicate(fd);
    return 0;
}

// NOLINTEND(readability-make-member-function-const)

int FakeVhostNode::set_config_call(void* argument) {
    parent_.config_call = duplicate(load<std::uint32_t>(argument));
    return 0;
}

int FakeVhostNode::suspend(void* /*argument*/) {
    if (!parent_.running) return 0;
    if (!has_backend_feature(VHOST_BACKEND_F_SUSPEND)) return EOPNOTSUPP;
    parent_.suspended = true;
    return 0;
}

int FakeVhostNode::resume(void* /*argument*/) {
    if (!parent_.running) return 0;
    if (!has_backend_feature(VHOST_BACKEND_F_RESUME)) return EOPNOTSUPP;
    parent_.suspended = false;
    return 0;
}

bool FakeVhostNode::has_backend_feature(unsigned bit) const {
    return (backend_features_ >> bit & 1) != 0;
}

bool FakeVhostNode::rings_may_change() const {
    return !parent_.running || parent_.suspended;
}

bool FakeVhostNode::take_failure(const std::string& name, int& error) {
    const auto failure = failures_.extract(name);
    if (failure.empty()) return false;
    error = failure.mapped();
    return true;
}

}  // namespace viaduct::test
