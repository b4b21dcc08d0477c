#include "vmm/console/backend.hpp"

#include <csignal>

#include "vmm/console/backends.hpp"
#include "vmm/console/spec.hpp"

namespace viaduct::console {
namespace {

class Nothing final : public SerialBackend {
public:
    bool transmit(std::byte /*byte*/) noexcept override { return true; }
    void room_for_input() noexcept override {}
    void attach(devices::Serial& /*serial*/) override {}
    void detach() noexcept override {}
    [[nodiscard]] std::uint64_t lost() const noexcept override { return 0; }
};

}  // namespace

std::unique_ptr<SerialBackend> open_nothing() {
    return std::make_unique<Nothing>();
}

std::unique_ptr<SerialBackend> open_serial(const std::string& spec, boost::asio::io_context& io) {
    const SerialSpec parsed = parse_serial(spec);
    std::signal(SIGPIPE, SIG_IGN);
    switch (parsed.kind) {
        case SerialSpec::Kind::none:
            return open_nothing();
        case SerialSpec::Kind::stdio:
            return open_stdio(io);
        case SerialSpec::Kind::file:
            return open_file(io, parsed.path);
        case SerialSpec::Kind::pty:
            return open_pty(io);
        case SerialSpec::Kind::unix_socket:
            return open_unix_socket(io, parsed.path);
    }
    return nullptr;
}

}  // namespace viaduct::console
