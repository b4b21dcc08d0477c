#include "tests/fuzz/relay_program.hpp"

#include <algorithm>
#include <charconv>

namespace viaduct::fuzz {
namespace {

constexpr std::string_view blanks = " \t\r";

/// What stands before any of `ends`, taken off with the one that follows it.
std::string_view take_until(std::string_view& text, std::string_view ends) {
    const std::size_t size = std::min(text.find_first_of(ends), text.size());
    const std::string_view taken = text.substr(0, size);
    text.remove_prefix(std::min(size + 1, text.size()));
    return taken;
}

std::string_view take_word(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
    return take_until(line, blanks);
}

std::optional<std::uint64_t> number(std::string_view digits) {
    const bool hexadecimal = digits.starts_with("0x");
    if (hexadecimal) digits.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, hexadecimal ? 16 : 10);
    if (error != std::errc()) return std::nullopt;
    return value;
}

}  // namespace

std::optional<Statement> take_statement(std::string_view& program) {
    while (!program.empty()) {
        std::string_view line = take_until(program, "\n");
        line = take_until(line, "#");
        Statement statement;
        statement.word = take_word(line);
        for (std::string_view& number : statement.numbers) number = take_word(line);
        if (!statement.word.empty()) return statement;
    }
    return std::nullopt;
}

std::uint64_t evaluate(std::string_view sum,
                       const std::function<std::uint64_t(std::string_view)>& named) {
    std::uint64_t total = 0;
    bool minus = false;
    while (!sum.empty()) {
        const std::size_t size = std::min(sum.find_first_of("+-"), sum.size());
        const std::string_view term = sum.substr(0, size);
        const std::uint64_t value = number(term).value_or(named(term));
        total = minus ? total - value : total + value;
        if (size == sum.size()) break;
        minus = sum[size] == '-';
        sum.remove_prefix(size + 1);
    }
    return total;
}

}  // namespace viaduct::fuzz
