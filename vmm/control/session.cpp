#include "vmm/control/session.hpp"

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "vmm/control/version.hpp"

namespace viaduct::control {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;

/// A request's members apart from its id, which is anything.
struct Call {
    std::string name;
    json::object arguments;
};

Call parse_call(json::object request) {
    Call call;
    for (auto& member : request) {
        const std::string_view key = member.key();
        auto& value = member.value();
        if (key == "execute") {
            if (!value.is_string()) {
                throw QmpError(ErrorClass::generic_error,
                               "QMP input member 'execute' must be a string");
            }
            call.name = value.get_string();
        } else if (key == "arguments") {
            if (!value.is_object()) {
                throw QmpError(ErrorClass::generic_error,
                               "QMP input member 'arguments' must be an object");
            }
            call.arguments = std::move(value.get_object());
        } else if (key != "id") {
            throw QmpError(ErrorClass::generic_error, "QMP input member '{}' is unexpected", key);
        }
    }
    if (!request.contains("execute")) {
        throw QmpError(ErrorClass::generic_error, "QMP input lacks member 'execute'");
    }
    return call;
}

void refuse_capabilities(const Arguments& arguments) {
    const auto enable = arguments.find<json::array>("enable");
    if (!enable || enable->empty()) return;
    const auto* name = enable->front().if_string();
    if (name == nullptr) {
        throw QmpError(ErrorClass::generic_error,
                       "Invalid parameter type for 'enable[0]', expected: string");
    }
    throw QmpError(ErrorClass::generic_error, "Parameter 'enable[0]' does not accept value '{}'",
                   std::string_view(*name));
}

json::object error_reply(ErrorClass error_class, std::string_view desc) {
    return {{"error", {{"class", name_of(error_class)}, {"desc", desc}}}};
}

}  // namespace

json::object Session::greeting() {
    return {{"QMP", {{"version", version()}, {"capabilities", json::array{}}}}};
}

asio::awaitable<json::object> Session::answer(RequestReader::Request request) {
    json::object reply;
    std::optional<json::value> id;
    try {
        if (const auto* error = std::get_if<QmpError>(&request)) throw QmpError(*error);
        auto* object = std::get<json::value>(request).if_object();
        if (object == nullptr) {
            throw QmpError(ErrorClass::generic_error, "QMP input must be a JSON object");
        }
        if (const auto* given = object->if_contains("id")) id = *given;
        auto value = co_await execute(std::move(*object));
        reply.emplace("return", std::move(value));
        if (id) reply.emplace("id", std::move(*id));
        co_return reply;
    } catch (const QmpError& error) {
        reply = error_reply(error.error_class(), error.what());
    } catch (const std::exception& error) {
        reply = error_reply(ErrorClass::generic_error, error.what());
    }
    if (id) {
        json::object with_id{{"id", std::move(*id)}};
        with_id.insert(reply.begin(), reply.end());
        co_return with_id;
    }
    co_return reply;
}

asio::awaitable<json::value> Session::execute(json::object request) {
    const auto call = parse_call(std::move(request));
    if (!negotiated_ && call.name != "qmp_capabilities") {
        throw QmpError(ErrorClass::command_not_found,
                       "Expecting capabilities negotiation with 'qmp_capabilities'");
    }
    const auto& command = table_->at(call.name);
    const Arguments arguments(command.parameters, call.arguments, command.other_arguments);
    if (!negotiated_) {
        refuse_capabilities(arguments);
        negotiated_ = true;
        co_return json::object{};
    }
    if (const auto* at_once = std::get_if<Command::AtOnce>(&command.run)) {
        co_return (*at_once)(arguments);
    }
    co_return co_await std::get<Command::Waiting>(command.run)(arguments);
}

}  // namespace viaduct::control
