/// Cuts a client's bytes into JSON values, however they arrive: several in one read, one over many
/// reads, with or without white space between.
///
/// What is no JSON value is an error, after which reading goes on as QEMU's does:
/// * an object or array ends with the bracket that closes its outermost one (or with the first
///   bracket that closes none); whatever is wrong inside is one error for the whole;
/// * a control character inside a string or outside of all white space, and the bytes 0xFE and 0xFF
///   anywhere, drop what was read so far: a client that lost its place sends 0xFF to start afresh.
///
/// Unlike QEMU's, strings stand in double quotes only, and of a name that an object has twice the
/// last one counts. Nesting is limited to 1024 levels as in QEMU, a value to `max_request` bytes;
/// past that size nothing more is read.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <boost/json/value.hpp>

#include "vmm/control/qmp_error.hpp"

namespace viaduct::control {

class RequestReader {
public:
    using Request = std::variant<boost::json::value, QmpError>;

    explicit RequestReader(std::size_t max_request) : max_request_(max_request) {}

    void push(std::string_view bytes);

    /// The next complete value or error; nothing until more bytes are pushed.
    [[nodiscard]] std::optional<Request> next();

    /// A value was too large: its error was the last thing `next` returned, the place is lost.
    [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }

private:
    enum class State { between, in_word, in_value };
    enum class Step { going_on, complete, complete_before, stray };

    Step step(char c);
    Step step_between(char c);
    Step step_in_value(char c);
    Step step_in_string(char c);
    static Request parse(std::string_view text);
    void start_afresh();

    std::size_t max_request_;
    std::string bytes_;
    std::size_t scanned_ = 0;  // of bytes_; what stands before start_ is done with
    std::size_t start_ = 0;    // of the value being scanned
    State state_ = State::between;
    std::string closers_;  // the brackets that are open, by what closes them
    bool in_string_ = false;
    bool escaped_ = false;
    bool overflowed_ = false;
};

}  // namespace viaduct::control
