/// What libFuzzer calls for the target "relay", and how it changes programs of relay_program.hpp:
/// half of the time by their lines and words, so that most of what it tries means something,
/// otherwise byte by byte as it does by itself.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/libfuzzer.hpp"
#include "tests/fuzz/targets.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t size, std::size_t room);

namespace {

using Random = std::minstd_rand;
using Lines = std::vector<std::string>;

/// `?` is any number.
constexpr std::array<std::string_view, 39> statements{"size ?",
                                                      "base ?",
                                                      "rings ? ? ?",
                                                      "event-idx",
                                                      "indirect",
                                                      "block",
                                                      "iops ?",
                                                      "desc ? ? ? ? ?",
                                                      "desc ? ? ? ? ?",
                                                      "desc-at ? ? ? ? ? ?",
                                                      "desc-at ram+0x1800 ? ? ? ? ?",
                                                      "write ? ? ?",
                                                      "avail ?",
                                                      "avail 0",
                                                      "entry ? ?",
                                                      "advance ?",
                                                      "avail-flags ?",
                                                      "used-flags ?",
                                                      "used-index ?",
                                                      "used-event ?",
                                                      "avail-event ?",
                                                      "use ? ?",
                                                      "use 0 ?",
                                                      "element ? ?",
                                                      "jump ?",
                                                      "scribble ? ?",
                                                      "forward",
                                                      "complete",
                                                      "run",
                                                      "run",
                                                      "pause",
                                                      "go-on",
                                                      "forward-held",
                                                      "discard-held",
                                                      "wait ?",
                                                      "wait 1100",
                                                      "again",
                                                      "desc 0 ? ? ? 1",
                                                      "desc 1 ? ? ? 0"};
constexpr std::array<std::string_view, 38> numbers{
    "0",     "1",          "2",          "3",          "4",          "7",          "8",
    "9",     "15",         "16",         "17",         "32",         "48",         "64",
    "512",   "4096",       "0x7fff",     "65535",      "0xffffffff", "0xfffffff0", "0-1",
    "ram",   "ram+0x1800", "ram+0x2000", "ram+0x2200", "end-8",      "end-16",     "rom",
    "bar",   "shadow",     "shadow+64",  "table",      "avail",      "used",       "next",
    "write", "indirect",   "next+write"};

template <typename Choices>
auto& any(Choices& choices, Random& random) {
    return choices[random() % choices.size()];
}

Lines lines_of(std::string_view text) {
    Lines lines;
    while (!text.empty()) {
        const std::size_t size = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
    }
    return lines;
}

std::string new_statement(Random& random) {
    std::string line;
    for (const char c : any(statements, random)) {
        if (c == '?') {
            line += any(numbers, random);
        } else {
            line += c;
        }
    }
    return line;
}

void replace_word(std::string& line, Random& random) {
    const std::size_t from = line.empty() ? 0 : random() % line.size();
    const std::size_t start = line.rfind(' ', from) + 1;
    const std::size_t end = std::min(line.find(' ', from), line.size());
    if (start == 0 || start > end) {
        line = new_statement(random);
    } else {
        line.replace(start, end - start, any(numbers, random));
    }
}

void change(Lines& lines, Random& random) {
    const auto at = lines.begin() + static_cast<std::ptrdiff_t>(random() % lines.size());
    switch (random() % 8) {
        case 0:
            lines.erase(at);
            return;
        case 1:
            lines.insert(at, std::string(any(lines, random)));
            return;
        case 2:
            std::swap(*at, any(lines, random));
            return;
        case 3:
        case 4:
            lines.insert(at, new_statement(random));
            return;
        default:
            replace_word(*at, random);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return viaduct::fuzz::run_target(viaduct::fuzz::relay, bytes, size);
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size,
                                               std::size_t room, unsigned seed) {
    Random random(seed);
    if (random() % 2 == 0) return LLVMFuzzerMutate(bytes, size, room);
    Lines lines = lines_of({reinterpret_cast<const char*>(bytes), size});
    for (auto changes = 1 + random() % 4; changes > 0; --changes) {
        if (lines.empty()) lines.push_back(new_statement(random));
        change(lines, random);
    }
    std::string text;
    for (const std::string& line : lines) text += line + '\n';
    const std::size_t length = std::min(text.size(), room);
    std::copy_n(text.begin(), length, bytes);
    return length;
}
