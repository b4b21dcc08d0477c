/// The target "qmp": the bytes are what a QMP client sends, in pieces that end at each `~`; at each
/// `^` the machine has an event to tell. A stream that begins with `tcp` is one from a TCP socket.
/// (None of the three reaches the server.)
///
/// What must hold: the server greets, and answers each request with one reply, whole and in QMP's
/// form, with the request's id; whatever came before, after byte 0xFF it understands again, or it
/// has closed the connection with an error; and it does not matter where a piece ended.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/parse.hpp>

#include "tests/fuzz/targets.hpp"
#include "vmm/control/connection.hpp"
#include "vmm/control/wire_text.hpp"

namespace viaduct::fuzz {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using control::Arguments;
using control::ArgumentType;

constexpr char end_of_piece = '~';
constexpr char event_mark = '^';
constexpr std::string_view tcp_mark = "tcp";
constexpr std::size_t largest_request = 2048;

struct Script {
    std::vector<std::string> pieces;  // an empty one is an event
    bool tcp = false;
};

Script script_of(std::string_view bytes) {
    Script script;
    script.tcp = bytes.starts_with(tcp_mark);
    if (script.tcp) bytes.remove_prefix(tcp_mark.size());
    std::string piece;
    const auto end_piece = [&] {
        if (!piece.empty()) script.pieces.push_back(std::exchange(piece, {}));
    };
    for (const char c : bytes) {
        if (c != end_of_piece && c != event_mark) {
            piece += c;
            continue;
        }
        end_piece();
        if (c == event_mark) script.pieces.emplace_back();
    }
    end_piece();
    return script;
}

/// A client that sends its pieces, takes output a little at a time, and then leaves.
class Client final : public control::ByteStream {
public:
    Client(std::vector<std::string> pieces, std::function<void()> tell)
        : pieces_(std::move(pieces)), tell_(std::move(tell)) {
        std::ranges::reverse(pieces_);
    }

    asio::awaitable<std::size_t> read_some(std::span<char> into) override {
        for (; !pieces_.empty() && pieces_.back().empty(); pieces_.pop_back()) tell_();
        if (closed_ || pieces_.empty()) co_return 0;
        std::string& piece = pieces_.back();
        const std::size_t size = std::min(piece.size(), into.size());
        std::ranges::copy(piece.substr(0, size), into.begin());
        piece.erase(0, size);
        if (piece.empty()) pieces_.pop_back();
        co_return size;
    }
    asio::awaitable<std::size_t> write_some(std::string_view bytes) override {
        const std::size_t size = (bytes.size() + 1) / 2;
        heard_ += bytes.substr(0, size);
        co_return size;
    }
    void close() noexcept override { closed_ = true; }

    [[nodiscard]] const std::string& heard() const noexcept { return heard_; }

private:
    std::vector<std::string> pieces_;  // the last is the next
    std::function<void()> tell_;
    std::string heard_;
    bool closed_ = false;
};

/// An argument of each type, one at once and one that waits.
void add_commands(control::CommandTable& table, asio::io_context& io) {
    table.add({.name = "query-name", .doc = "", .run = [](const Arguments&) -> json::value {
                   return json::object{};
               }});
    table.add({.name = "set",
               .doc = "",
               .parameters = {{.name = "s", .type = ArgumentType::string, .doc = ""},
                              {.name = "i", .type = ArgumentType::integer, .doc = ""},
                              {.name = "n",
                               .type = ArgumentType::number,
                               .doc = "",
                               .need = control::Need::optional},
                              {.name = "z",
                               .type = ArgumentType::size,
                               .doc = "",
                               .need = control::Need::exactly_one},
                              {.name = "b",
                               .type = ArgumentType::boolean,
                               .doc = "",
                               .need = control::Need::exactly_one},
                              {.name = "mode",
                               .type = ArgumentType::string,
                               .doc = "",
                               .need = control::Need::optional,
                               .values = {"fast", "slow"}}},
               .run = [](const Arguments& arguments) -> json::value {
                   return {{"s", arguments.get<std::string>("s")},
                           {"i", arguments.get<std::int64_t>("i")},
                           {"n", arguments.find<double>("n").value_or(0)}};
               }});
    table.add({.name = "echo",
               .doc = "",
               .parameters = {{.name = "a",
                               .type = ArgumentType::array,
                               .doc = "",
                               .need = control::Need::optional},
                              {.name = "o", .type = ArgumentType::object, .doc = ""}},
               .run = [&io](const Arguments& arguments) -> asio::awaitable<json::value> {
                   const auto object = arguments.get<json::object>("o");
                   asio::steady_timer soon(io, std::chrono::seconds(0));
                   co_await soon.async_wait(asio::use_awaitable);
                   co_return object;
               }});
}

/// The server's lines.
std::vector<std::string> converse(const Script& script) {
    asio::io_context io;
    control::CommandTable table;
    add_commands(table, io);
    control::Limits limits;
    limits.request = largest_request;
    limits.json_from_the_start = script.tcp;
    std::shared_ptr<control::Connection> connection;
    auto own = std::make_unique<Client>(
        script.pieces, [&connection] { connection->deliver(R"({"event": "RESUME"})"); });
    const Client& client = *own;
    connection = std::make_shared<control::Connection>(io.get_executor(), std::move(own), table,
                                                       limits, "a client", [] {});
    asio::co_spawn(io, connection->serve(), asio::detached);
    io.run();
    std::vector<std::string> lines;
    std::string_view heard = client.heard();
    while (!heard.empty()) {
        const std::size_t size = heard.find("\r\n");
        require(size != std::string_view::npos, "the server's last line is not whole");
        lines.emplace_back(heard.substr(0, size));
        heard.remove_prefix(size + 2);
    }
    return lines;
}

std::optional<json::value> parsed(std::string_view text) {
    json::parse_options options;
    options.max_depth = 1024;
    json::error_code error;
    auto value = json::parse(text, error, {}, options);
    return error ? std::nullopt : std::optional(std::move(value));
}

bool is_event(const json::object& line) {
    return line.contains("event");
}

/// The lines, each in QMP's form: first the greeting, then replies and events.
std::vector<json::object> in_form(const std::vector<std::string>& lines) {
    std::vector<json::object> objects;
    bool negotiated = false;
    for (const std::string& line : lines) {
        const auto value = parsed(line);
        require(value && value->is_object(), "the server said what is no JSON object");
        const json::object& object = value->get_object();
        const std::size_t kinds = object.count("QMP") + object.count("return") +
                                  object.count("error") + object.count("event");
        require(kinds == 1 && object.size() == kinds + object.count("id"),
                "the server said what is neither greeting, reply nor event");
        require(object.contains("QMP") == objects.empty(), "the greeting is not the first line");
        require(negotiated || !is_event(object), "an event was told before negotiation");
        negotiated = negotiated || object.contains("return");
        objects.push_back(object);
    }
    require(!objects.empty(), "the server did not greet");
    return objects;
}

std::vector<json::object> replies_of(const Script& script) {
    auto lines = in_form(converse(script));
    lines.erase(lines.begin());
    std::erase_if(lines, is_event);
    return lines;
}

/// As long as the client sends whole values, one per line, it is told of each by its id.
void require_replies_by_line(std::string_view sent, const std::vector<json::object>& replies) {
    std::size_t number = 0;
    while (true) {
        const std::size_t size = sent.find('\n');
        // npos, too: no further line is whole.
        if (size >= largest_request) return;
        const std::string_view line = sent.substr(0, size);
        sent.remove_prefix(size + 1);
        if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
        const auto request = parsed(line);
        if (!request) return;
        require(number < replies.size(), "a request was not answered");
        const json::object* object = request->if_object();
        const json::value* id = object != nullptr ? object->if_contains("id") : nullptr;
        const json::value* echoed = replies[number].if_contains("id");
        require((id != nullptr) == (echoed != nullptr),
                "a reply has an id that its request had not");
        require(id == nullptr || control::wire_text(*id) == control::wire_text(*echoed),
                "a reply has another's id");
        ++number;
    }
}

/// The server has closed the connection, and has told why.
bool may_be_closed(const Script& script, const std::vector<json::object>& replies) {
    const json::value* error = replies.back().if_contains("error");
    if (error == nullptr) return false;
    const std::string_view desc = error->at("desc").as_string();
    const bool negotiated = std::ranges::any_of(
        replies, [](const json::object& reply) { return reply.contains("return"); });
    return desc.starts_with("The request is larger than") ||
           (script.tcp && !negotiated && desc.starts_with("JSON"));
}

}  // namespace

void qmp(std::string_view bytes) {
    Script script = script_of(bytes);
    const std::string probe = "\xff\n{\"execute\":\"query-name\",\"id\":\"the probe\"}\n";
    script.pieces.push_back(probe);
    Script at_once{{{}}, script.tcp};
    for (const std::string& piece : script.pieces) at_once.pieces.front() += piece;
    const auto replies = replies_of(script);
    require(replies == replies_of(at_once), "it mattered where a piece ended");
    require_replies_by_line(at_once.pieces.front(), replies);
    require(!replies.empty(), "the probe was not answered, nor anything before");
    const json::value* id = replies.back().if_contains("id");
    const bool answered = id != nullptr && *id == "the probe";
    require(answered || may_be_closed(script, replies), "the probe was not answered");
}

}  // namespace viaduct::fuzz
