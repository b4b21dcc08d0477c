#include "vmm/ctl/address.hpp"

#include <sys/un.h>

#include <charconv>
#include <string_view>

#include <fmt/core.h>

#include "vmm/ctl/errors.hpp"

namespace viaduct::ctl {
namespace {

constexpr std::string_view unix_prefix = "unix:";
constexpr std::string_view tcp_prefix = "tcp:";

Address parse_tcp(std::string_view text) {
    const auto colon = text.rfind(':');
    std::string_view host = text.substr(0, colon);
    const std::string_view port_text =
        colon == std::string_view::npos ? std::string_view{} : text.substr(colon + 1);
    std::uint16_t port = 0;
    const char* const end = port_text.data() + port_text.size();
    const auto [stop, error] = std::from_chars(port_text.data(), end, port);
    if (host.empty() || error != std::errc{} || stop != end || port == 0) {
        throw UsageError("-s tcp:{}: write it as tcp:127.0.0.1:4444", text);
    }
    if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    return TcpAddress{.host = std::string(host == "localhost" ? "127.0.0.1" : host), .port = port};
}

Address parse_unix(std::string_view path) {
    constexpr std::size_t longest = sizeof(sockaddr_un::sun_path) - 1;
    if (path.empty()) throw UsageError("-s: the socket's path is empty");
    if (path.size() > longest) {
        throw UsageError("-s {}: a socket's path has at most {} bytes, this one {}", path, longest,
                         path.size());
    }
    return UnixAddress{std::string(path)};
}

}  // namespace

Address parse_address(const std::string& text) {
    const std::string_view view = text;
    if (view.starts_with(tcp_prefix)) return parse_tcp(view.substr(tcp_prefix.size()));
    return parse_unix(view.starts_with(unix_prefix) ? view.substr(unix_prefix.size()) : view);
}

std::string name_of(const Address& address) {
    if (const auto* local = std::get_if<UnixAddress>(&address)) {
        return fmt::format("{}{}", unix_prefix, local->path);
    }
    const auto& [host, port] = std::get<TcpAddress>(address);
    const bool version_6 = host.find(':') != std::string::npos;
    return version_6 ? fmt::format("{}[{}]:{}", tcp_prefix, host, port)
                     : fmt::format("{}{}:{}", tcp_prefix, host, port);
}

}  // namespace viaduct::ctl
