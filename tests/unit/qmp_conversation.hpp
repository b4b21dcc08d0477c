/// A QMP conversation without a socket: bytes in, the server's lines out, with a few commands whose
/// arguments are those of QEMU's commands of the same name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include "vmm/control/command_table.hpp"
#include "vmm/control/qmp_error.hpp"
#include "vmm/control/request_reader.hpp"
#include "vmm/control/session.hpp"
#include "vmm/control/wire_text.hpp"

namespace viaduct::control {

inline boost::json::value nothing(const Arguments&) {
    return boost::json::object{};
}

inline void add_sample_commands(CommandTable& table) {
    table.add({.name = "query-name", .doc = "The VM's name.", .run = nothing});
    table.add({.name = "device_del",
               .doc = "Remove a device.",
               .parameters = {{.name = "id", .type = ArgumentType::string, .doc = "the device"}},
               .run = [](const Arguments& arguments) -> boost::json::value {
                   throw QmpError(ErrorClass::device_not_found, "Device '{}' not found",
                                  arguments.get<std::string>("id"));
               }});
    table.add({.name = "set_link",
               .doc = "Plug or unplug a cable.",
               .parameters = {{.name = "name", .type = ArgumentType::string, .doc = "the device"},
                              {.name = "up", .type = ArgumentType::boolean, .doc = "plugged"}},
               .run = nothing});
    table.add({.name = "balloon",
               .doc = "Change the guest's memory.",
               .parameters = {{.name = "value", .type = ArgumentType::integer, .doc = "bytes"}},
               .run = nothing});
}

class Conversation {
public:
    explicit Conversation(std::size_t max_request = 4096) : reader_(max_request) {
        add_sample_commands(table_);
    }

    Conversation& negotiate() {
        say(R"({"execute":"qmp_capabilities"})");
        return *this;
    }

    /// The lines that these bytes bring about.
    std::vector<std::string> say(std::string_view bytes) {
        std::vector<std::string> lines;
        reader_.push(bytes);
        while (auto request = reader_.next()) lines.push_back(answer(std::move(*request)));
        return lines;
    }

    CommandTable& table() noexcept { return table_; }
    [[nodiscard]] const Session& session() const noexcept { return session_; }
    [[nodiscard]] const RequestReader& reader() const noexcept { return reader_; }

private:
    std::string answer(RequestReader::Request request) {
        std::string line;
        boost::asio::io_context io;
        boost::asio::co_spawn(io, session_.answer(std::move(request)),
                              [&](const std::exception_ptr&, const boost::json::object& reply) {
                                  line = wire_text(reply);
                              });
        io.run();
        return line;
    }

    CommandTable table_;
    RequestReader reader_;
    Session session_{table_};
};

}  // namespace viaduct::control
