#include "vmm/console/spec.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace viaduct::console {
namespace {

using Kind = SerialSpec::Kind;

struct Form {
    std::string_view name;
    Kind kind;
    bool takes_path;
};

constexpr std::array<Form, 6> forms{{
    {"none", Kind::none, false},
    {"stdio", Kind::stdio, false},
    {"file", Kind::file, true},
    {"pty", Kind::pty, false},
    {"unix", Kind::unix_socket, true},
    {"socket", Kind::unix_socket, true},
}};

constexpr std::string_view valid = "use none, stdio, file:PATH, pty or unix:PATH";

constexpr std::array<std::string_view, 5> socket_options{"server", "server=on", "wait=off",
                                                         "nowait", "server=yes"};

/// The path before the options, each of which is checked.
std::string socket_path(std::string_view text) {
    const std::size_t end = std::min(text.find(','), text.size());
    for (std::size_t at = end; at < text.size();) {
        const std::size_t next = std::min(text.find(',', at + 1), text.size());
        const std::string_view option = text.substr(at + 1, next - at - 1);
        if (std::find(socket_options.begin(), socket_options.end(), option) ==
            socket_options.end()) {
            throw Error(
                "--serial unix:{}: option '{}' is not known: the port always listens and never "
                "waits for its client, so only server and wait=off may stand there",
                text.substr(0, end), option);
        }
        at = next;
    }
    return std::string(text.substr(0, end));
}

}  // namespace

SerialSpec parse_serial(std::string_view text) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::string_view name = text.substr(0, colon);
    const auto* const form =
        std::find_if(forms.begin(), forms.end(), [&](const Form& row) { return row.name == name; });
    if (form == forms.end()) throw Error("--serial {}: '{}' is not known: {}", text, name, valid);
    const bool has_colon = colon != text.size();
    if (!form->takes_path) {
        if (has_colon) throw Error("--serial {}: '{}' takes no path: {}", text, name, valid);
        return {form->kind, {}};
    }
    const std::string_view rest = has_colon ? text.substr(colon + 1) : std::string_view{};
    std::string path = form->kind == Kind::unix_socket ? socket_path(rest) : std::string(rest);
    if (path.empty()) {
        throw Error("--serial {}: a path is missing: write {}:PATH", text, name);
    }
    return {form->kind, std::move(path)};
}

}  // namespace viaduct::console
