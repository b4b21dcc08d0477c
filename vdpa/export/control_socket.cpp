#include "vdpa/export/control_socket.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

#include "base/error.hpp"
#include "base/fd.hpp"

namespace viaduct::vduse {
namespace {

constexpr std::chrono::milliseconds patience_with_clients{500};
/// A device that is taken away waits for what is in flight.
constexpr std::chrono::milliseconds patience_with_the_daemon{60'000};
constexpr std::chrono::milliseconds patience_with_a_sign_of_life{2'000};
constexpr std::size_t longest_line = 4096;

std::string path_of(const std::string& folder, const std::string& name) {
    return folder + "/" + name + ".sock";
}

/// Up to the end of the line or of the conversation; empty when that takes too long.
std::string read_line(const Fd& socket, std::chrono::milliseconds patience) {
    std::string line;
    while (line.size() < longest_line && !line.ends_with('\n')) {
        pollfd readable{.fd = socket.get(), .events = POLLIN, .revents = 0};
        if (::poll(&readable, 1, static_cast<int>(patience.count())) <= 0) return {};
        std::array<char, longest_line> piece{};
        const ssize_t length = ::recv(socket.get(), piece.data(), piece.size(), 0);
        if (length <= 0) break;
        line.append(piece.data(), static_cast<std::size_t>(length));
    }
    return line.substr(0, line.find('\n'));
}

void write_line(const Fd& socket, const std::string& line) {
    const std::string text = line + '\n';
    // A client that is gone does not hear it.
    (void)::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

Fd connect_to(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) return {};
    std::ranges::copy(path, address.sun_path);
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    if (!socket || ::connect(socket.get(), generic, sizeof(address)) != 0) return {};
    return socket;
}

}  // namespace

ControlSocket::ControlSocket(const std::string& folder, const std::string& name)
    : listener_("the control socket", path_of(folder, name)) {}

void ControlSocket::serve(const std::function<std::string(const std::string&)>& handle) {
    const Fd client = listener_.accept();
    if (!client) return;
    const std::string request = read_line(client, patience_with_clients);
    try {
        write_line(client, "ok " + (request.empty() ? request : handle(request)));
    } catch (const Error& refusal) {
        write_line(client, std::string("error ") + refusal.what());
    }
}

bool has_daemon(const std::string& folder, const std::string& name) {
    const Fd daemon = connect_to(path_of(folder, name));
    if (!daemon) return false;
    write_line(daemon, "");
    return !read_line(daemon, patience_with_a_sign_of_life).empty();
}

void forget_daemon(const std::string& folder, const std::string& name) noexcept {
    (void)::unlink(path_of(folder, name).c_str());
}

std::string ask_daemon(const std::string& folder, const std::string& name,
                       const std::string& request) {
    const Fd daemon = connect_to(path_of(folder, name));
    if (!daemon) {
        throw Error(
            "no daemon exports '{}': `viaduct-export run` starts one, `viaductctl devices` "
            "lists the host's devices",
            name);
    }
    write_line(daemon, request);
    const std::string answer = read_line(daemon, patience_with_the_daemon);
    constexpr std::string_view good = "ok ";
    constexpr std::string_view bad = "error ";
    if (answer.starts_with(good)) return answer.substr(good.size());
    if (answer.starts_with(bad)) throw Error(answer.substr(bad.size()));
    throw Error("the daemon of '{}' did not answer: see its log", name);
}

}  // namespace viaduct::vduse
