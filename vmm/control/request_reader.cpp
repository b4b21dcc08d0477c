#include "vmm/control/request_reader.hpp"

#include <cstdint>

#include <boost/json/parse_options.hpp>
#include <boost/json/stream_parser.hpp>

namespace viaduct::control {
namespace {

namespace json = boost::json;

constexpr std::size_t max_depth = 1024;

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool is_control(char c) {
    return static_cast<std::uint8_t>(c) < 0x20;
}
bool is_no_utf8(char c) {
    return static_cast<std::uint8_t>(c) >= 0xfe;
}
bool is_structural(char c) {
    return std::string_view("{}[],:\"").find(c) != std::string_view::npos;
}

template <typename... Args>
QmpError parse_error(fmt::format_string<Args...> format, Args&&... args) {
    return {ErrorClass::generic_error,
            "JSON parse error, " + fmt::vformat(format, fmt::make_format_args(args...))};
}

}  // namespace

void RequestReader::push(std::string_view bytes) {
    bytes_.erase(0, start_);
    scanned_ -= start_;
    start_ = 0;
    bytes_ += bytes;
}

std::optional<RequestReader::Request> RequestReader::next() {
    while (scanned_ < bytes_.size() && !overflowed_) {
        if (scanned_ - start_ >= max_request_) {
            overflowed_ = true;
            return QmpError(ErrorClass::generic_error,
                            "The request is larger than {} bytes, closing the connection",
                            max_request_);
        }
        const char c = bytes_[scanned_];
        switch (step(c)) {
            case Step::going_on:
                ++scanned_;
                break;
            case Step::complete: {
                ++scanned_;
                auto request = parse(std::string_view(bytes_).substr(start_, scanned_ - start_));
                start_afresh();
                return request;
            }
            case Step::complete_before: {
                auto request = parse(std::string_view(bytes_).substr(start_, scanned_ - start_));
                start_afresh();
                return request;
            }
            case Step::stray:
                ++scanned_;
                start_afresh();
                return parse_error("stray byte 0x{:02x}", static_cast<std::uint8_t>(c));
        }
        if (state_ == State::between) start_ = scanned_;
    }
    return std::nullopt;
}

RequestReader::Step RequestReader::step(char c) {
    if (is_no_utf8(c)) return Step::stray;
    switch (state_) {
        case State::between:
            return step_between(c);
        case State::in_word:
            return is_space(c) || is_control(c) || is_structural(c) ? Step::complete_before
                                                                    : Step::going_on;
        case State::in_value:
            return in_string_ ? step_in_string(c) : step_in_value(c);
    }
    return Step::stray;
}

RequestReader::Step RequestReader::step_between(char c) {
    if (is_space(c)) return Step::going_on;
    if (is_control(c)) return Step::stray;
    if (is_structural(c)) {
        state_ = State::in_value;
        return step_in_value(c);
    }
    state_ = State::in_word;
    return Step::going_on;
}

RequestReader::Step RequestReader::step_in_value(char c) {
    switch (c) {
        case '{':
            closers_ += '}';
            return Step::going_on;
        case '[':
            closers_ += ']';
            return Step::going_on;
        case '}':
        case ']':
            if (closers_.empty() || closers_.back() != c) return Step::complete;
            closers_.pop_back();
            return closers_.empty() ? Step::complete : Step::going_on;
        case '"':
            in_string_ = true;
            return Step::going_on;
        case ',':
        case ':':
            return closers_.empty() ? Step::complete : Step::going_on;
        default:
            return is_control(c) && !is_space(c) ? Step::stray : Step::going_on;
    }
}

RequestReader::Step RequestReader::step_in_string(char c) {
    if (is_control(c)) return Step::stray;
    if (escaped_) {
        escaped_ = false;
    } else if (c == '\\') {
        escaped_ = true;
    } else if (c == '"') {
        in_string_ = false;
        if (closers_.empty()) return Step::complete;
    }
    return Step::going_on;
}

RequestReader::Request RequestReader::parse(std::string_view text) {
    json::parse_options options;
    options.max_depth = max_depth;
    json::stream_parser parser({}, options);
    json::error_code error;
    const auto read = parser.write_some(text.data(), text.size(), error);
    if (!error) parser.finish(error);
    if (!error) return parser.release();
    if (error == json::error::too_deep) {
        return QmpError(ErrorClass::generic_error, "JSON nesting depth limit exceeded");
    }
    return parse_error("{} at byte {} of the request", error.message(), read);
}

void RequestReader::start_afresh() {
    start_ = scanned_;
    state_ = State::between;
    closers_.clear();
    in_string_ = false;
    escaped_ = false;
}

}  // namespace viaduct::control
