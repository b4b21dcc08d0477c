#include "vmm/control/wire_text.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

namespace viaduct::control {
namespace {

namespace json = boost::json;

constexpr char32_t replacement = 0xfffd;

/// Takes one code point off the front of `text`, or one byte and U+FFFD when no shortest-form UTF-8
/// sequence stands there (Unicode 15, table 3-7).
char32_t take_code_point(std::string_view& text) {
    const auto lead = static_cast<std::uint8_t>(text.front());
    text.remove_prefix(1);
    if (lead < 0x80) return lead;
    const std::size_t tail = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < tail) return replacement;
    char32_t code = lead & (0x3fU >> tail);
    for (const char c : text.substr(0, tail)) {
        const auto byte = static_cast<std::uint8_t>(c);
        if ((byte & 0xc0U) != 0x80) return replacement;
        code = (code << 6U) | (byte & 0x3fU);
    }
    constexpr char32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    if (code < smallest[tail] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
        return replacement;
    }
    text.remove_prefix(tail);
    return code;
}

/// Stands in a string as it is.
bool is_plain(char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

class Writer {
public:
    void write(const json::value& value);
    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    void write(const json::object& object);
    void write(const json::array& array);
    void write(double number);
    void write(std::string_view string);
    void escape(char32_t code);

    std::string text_;
};

void Writer::write(const json::value& value) {
    switch (value.kind()) {
        case json::kind::null:
            text_ += "null";
            break;
        case json::kind::bool_:
            text_ += value.get_bool() ? "true" : "false";
            break;
        case json::kind::int64:
            fmt::format_to(std::back_inserter(text_), "{}", value.get_int64());
            break;
        case json::kind::uint64:
            fmt::format_to(std::back_inserter(text_), "{}", value.get_uint64());
            break;
        case json::kind::double_:
            write(value.get_double());
            break;
        case json::kind::string:
            write(std::string_view(value.get_string()));
            break;
        case json::kind::array:
            write(value.get_array());
            break;
        case json::kind::object:
            write(value.get_object());
            break;
    }
}

void Writer::write(const json::object& object) {
    text_ += '{';
    for (const char* separator = ""; const auto& member : object) {
        text_ += separator;
        separator = ", ";
        write(std::string_view(member.key()));
        text_ += ": ";
        write(member.value());
    }
    text_ += '}';
}

void Writer::write(const json::array& array) {
    text_ += '[';
    for (const char* separator = ""; const auto& element : array) {
        text_ += separator;
        separator = ", ";
        write(element);
    }
    text_ += ']';
}

void Writer::write(double number) {
    // JSON has no word for infinities and NaN.
    if (!std::isfinite(number)) {
        text_ += "null";
        return;
    }
    fmt::format_to(std::back_inserter(text_), "{}", number);
}

void Writer::write(std::string_view string) {
    text_ += '"';
    while (!string.empty()) {
        const auto plain =
            static_cast<std::size_t>(std::ranges::find_if_not(string, is_plain) - string.begin());
        text_ += string.substr(0, plain);
        string.remove_prefix(plain);
        if (!string.empty()) escape(take_code_point(string));
    }
    text_ += '"';
}

void Writer::escape(char32_t code) {
    constexpr std::u32string_view escaped = U"\"\\\b\f\n\r\t";
    constexpr std::string_view letters = "\"\\bfnrt";
    if (const auto at = escaped.find(code); at != std::u32string_view::npos) {
        text_ += '\\';
        text_ += letters[at];
        return;
    }
    auto out = std::back_inserter(text_);
    const auto number = static_cast<std::uint32_t>(code);
    if (number < 0x10000) {
        fmt::format_to(out, "\\u{:04X}", number);
    } else {
        fmt::format_to(out, "\\u{:04X}\\u{:04X}", 0xd800U + ((number - 0x10000) >> 10U),
                       0xdc00U + ((number - 0x10000) & 0x3ffU));
    }
}

}  // namespace

std::string wire_text(const json::value& value) {
    Writer writer;
    writer.write(value);
    return writer.take();
}

}  // namespace viaduct::control
