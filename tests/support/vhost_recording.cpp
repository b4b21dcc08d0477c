#include "tests/support/vhost_recording.hpp"

#include <linux/vhost_types.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <span>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "devices/virtio/spec.hpp"
#include "vdpa/vhost/uapi.hpp"

namespace viaduct::test {
namespace {

namespace status = virtio::status;

class Recorder {
public:
    explicit Recorder(vhost::Node& node) : node_(node) {}

    [[nodiscard]] const std::string& text() const { return text_; }

    void line(const std::string& name, const std::string& result) {
        text_ += fmt::format("{} {}\n", name, result);
    }

    template <typename T>
    T get(const std::string& name, unsigned long request) {
        T value{};
        const int result = node_.ioctl(request, &value);
        line(name, result < 0 ? errno_name() : fmt::format("{:#x}", value));
        return value;
    }

    template <typename T>
    void set(const std::string& name, unsigned long request, T argument) {
        line(name, node_.ioctl(request, &argument) < 0 ? errno_name() : "ok");
    }

    void iotlb(const std::string& name, std::uint8_t type, std::uint64_t iova,
               std::span<std::byte> memory) {
        vhost_msg_v2 message{};
        message.type = VHOST_IOTLB_MSG_V2;
        message.iotlb.type = type;
        message.iotlb.iova = iova;
        message.iotlb.size = memory.size();
        message.iotlb.uaddr = reinterpret_cast<std::uintptr_t>(memory.data());
        message.iotlb.perm = VHOST_ACCESS_RW;
        line(name, node_.write(std::as_bytes(std::span(&message, 1))) ? "ok" : errno_name());
    }

    static std::string errno_name() { return ::strerrorname_np(errno); }

private:
    vhost::Node& node_;
    std::string text_;
};

void record_identity(Recorder& recorder, vhost::Node& node) {
    recorder.get<std::uint32_t>("device-id", VHOST_VDPA_GET_DEVICE_ID);
    recorder.line("set-owner", node.ioctl(VHOST_SET_OWNER, nullptr) < 0 ? Recorder::errno_name()
                                                                        : std::string("ok"));
    const auto size = recorder.get<std::uint32_t>("config-size", VHOST_VDPA_GET_CONFIG_SIZE);
    vhost_vdpa_iova_range range{};
    node.ioctl(VHOST_VDPA_GET_IOVA_RANGE, &range);
    recorder.line("iova-range", fmt::format("{:#x}-{:#x}", range.first, range.last));
    std::vector<std::byte> config(sizeof(vhost_vdpa_config) + size);
    const vhost_vdpa_config header{0, size};
    ::memcpy(config.data(), &header, sizeof header);
    node.ioctl(VHOST_VDPA_GET_CONFIG, config.data());
    std::string bytes;
    // What follows 64 bytes is zero padding in every device that is recorded.
    for (std::size_t i = sizeof header;
         i < std::min<std::size_t>(config.size(), 64 + sizeof header); ++i) {
        bytes += fmt::format("{:02x}", std::to_integer<unsigned>(config[i]));
    }
    recorder.line("config", bytes);
}

void record_queues(Recorder& recorder, vhost::Node& node) {
    const auto count = recorder.get<std::uint32_t>("queues", VHOST_VDPA_GET_VQS_COUNT);
    const auto entries = recorder.get<std::uint16_t>("vring-num", VHOST_VDPA_GET_VRING_NUM);
    for (unsigned queue = 0; queue < count; ++queue) {
        vhost_vring_state state{queue, 0};
        const bool known = node.ioctl(VHOST_VDPA_GET_VRING_SIZE, &state) >= 0;
        recorder.line(fmt::format("vring-size-{}", queue),
                      known ? fmt::format("{:#x}", state.num) : Recorder::errno_name());
        recorder.line(fmt::format("doorbell-{}", queue), node.map_doorbell(queue) ? "yes" : "no");
    }
    using State = vhost_vring_state;
    recorder.set("set-vring-num-zero", VHOST_SET_VRING_NUM, State{0, 0});
    recorder.set("set-vring-num-three", VHOST_SET_VRING_NUM, State{0, 3});
    recorder.set("set-vring-num-twice-the-maximum", VHOST_SET_VRING_NUM, State{0, 2U * entries});
    recorder.set("set-vring-num-maximum", VHOST_SET_VRING_NUM, State{0, entries});
    recorder.set("set-vring-num-past-the-last-queue", VHOST_SET_VRING_NUM, State{count, entries});
}

void record_negotiation(Recorder& recorder) {
    const auto features = recorder.get<std::uint64_t>("features", VHOST_GET_FEATURES);
    const auto backend =
        recorder.get<std::uint64_t>("backend-features", VHOST_GET_BACKEND_FEATURES);
    recorder.set("set-backend-features", VHOST_SET_BACKEND_FEATURES,
                 backend & (1U << VHOST_BACKEND_F_IOTLB_MSG_V2 | 1U << VHOST_BACKEND_F_IOTLB_BATCH |
                            1U << VHOST_BACKEND_F_IOTLB_PERSIST));
    recorder.get<std::uint8_t>("status-after-open", VHOST_VDPA_GET_STATUS);
    constexpr std::uint8_t driver = status::acknowledge | status::driver;
    recorder.set("set-status-driver", VHOST_VDPA_SET_STATUS, driver);
    recorder.set("set-status-fewer-bits", VHOST_VDPA_SET_STATUS, status::acknowledge);
    recorder.set("set-features-without-access-platform", VHOST_SET_FEATURES,
                 features & ~virtio::feature::access_platform);
    recorder.set("set-features-all", VHOST_SET_FEATURES, features);
    recorder.set("set-status-features-ok", VHOST_VDPA_SET_STATUS,
                 static_cast<std::uint8_t>(driver | status::features_ok));
    recorder.get<std::uint8_t>("status-after-features-ok", VHOST_VDPA_GET_STATUS);
    recorder.set("set-features-too-late", VHOST_SET_FEATURES, features);
}

void record_map(Recorder& recorder) {
    constexpr std::size_t size = 64U << 10;
    constexpr std::uint64_t iova = 0x100000;
    const Mapping memory("shared memory", size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    recorder.iotlb("map", VHOST_IOTLB_UPDATE, iova, memory.bytes());
    recorder.iotlb("map-overlapping", VHOST_IOTLB_UPDATE, iova, memory.bytes());
    recorder.iotlb("unmap", VHOST_IOTLB_INVALIDATE, iova, memory.bytes());
}

}  // namespace

std::string record_vhost_node(vhost::Node& node) {
    Recorder recorder(node);
    record_negotiation(recorder);
    record_identity(recorder, node);
    record_queues(recorder, node);
    record_map(recorder);
    recorder.set("set-status-reset", VHOST_VDPA_SET_STATUS, std::uint8_t{0});
    recorder.get<std::uint8_t>("status-after-reset", VHOST_VDPA_GET_STATUS);
    return recorder.text();
}

std::map<std::string, std::string> parse_recording(const std::string& text) {
    std::map<std::string, std::string> lines;
    std::istringstream stream(text);
    std::string name;
    std::string result;
    while (stream >> name && std::getline(stream >> std::ws, result)) lines[name] = result;
    return lines;
}

std::string load_recording(const std::string& name) {
    const std::string path = std::string(VIADUCT_SOURCE_DIR) + "/tests/recordings/" + name + ".txt";
    std::ifstream file(path);
    if (!file) throw SystemError("cannot read " + path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

}  // namespace viaduct::test
