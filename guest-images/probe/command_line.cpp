#include "guest-images/probe/command_line.hpp"

#include "guest-images/probe/boot_record.hpp"
#include "guest-images/probe/report.hpp"

namespace probe {

Text option(Text key, Text otherwise) {
    const Text line = boot_record().command_line;
    size_t start = 0;
    while (start < line.size()) {
        size_t end = start;
        while (end < line.size() && line[end] != ' ') ++end;
        const Text word = line.substring(start, end - start);
        if (word.size() > key.size() && word[key.size()] == '=' && word.starts_with(key)) {
            return word.substring(key.size() + 1, word.size() - key.size() - 1);
        }
        start = end + 1;
    }
    return otherwise;
}

uint64_t option_number(Text key, uint64_t otherwise) {
    const Text text = option(key);
    if (text.empty()) return otherwise;
    const ParsedNumber number = parse_number(text);
    CHECK(number.valid, key, "=", text, " is not a number");
    return number.value;
}

bool option_switch(Text key, bool otherwise) {
    const Text text = option(key);
    if (text.empty()) return otherwise;
    CHECK(text == "on" || text == "off", key, "=", text, " is neither on nor off");
    return text == "on";
}

bool runs_on_qemu() {
    return option("reference") == "qemu";
}

}  // namespace probe
