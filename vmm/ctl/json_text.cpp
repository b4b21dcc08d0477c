#include "vmm/ctl/json_text.hpp"

#include <algorithm>

#include <boost/json/serialize.hpp>

namespace viaduct::ctl {
namespace {

namespace json = boost::json;

void write(std::string& text, const json::value& value, std::size_t depth);

void new_line(std::string& text, std::size_t depth) {
    text += '\n';
    text.append(2 * depth, ' ');
}

void write_object(std::string& text, const json::object& object, std::size_t depth) {
    char before = '{';
    for (const auto& member : object) {
        text += before;
        before = ',';
        new_line(text, depth + 1);
        text += json::serialize(json::string_view(member.key()));
        text += ": ";
        write(text, member.value(), depth + 1);
    }
    new_line(text, depth);
    text += '}';
}

void write_array(std::string& text, const json::array& array, std::size_t depth) {
    const bool on_one_line =
        std::ranges::all_of(array, [](const json::value& value) { return value.is_number(); });
    char before = '[';
    for (const auto& element : array) {
        text += before;
        if (on_one_line && before == ',') text += ' ';
        before = ',';
        if (!on_one_line) new_line(text, depth + 1);
        write(text, element, depth + 1);
    }
    if (!on_one_line) new_line(text, depth);
    text += ']';
}

void write(std::string& text, const json::value& value, std::size_t depth) {
    if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
        write_object(text, *object, depth);
    } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
        write_array(text, *array, depth);
    } else {
        text += json::serialize(value);
    }
}

}  // namespace

std::string pretty(const json::value& value) {
    std::string text;
    write(text, value, 0);
    return text;
}

}  // namespace viaduct::ctl
