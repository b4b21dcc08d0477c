#include "vmm/console/escape.hpp"

#include <utility>

namespace viaduct::console {

EscapeParser::Command EscapeParser::feed(std::byte byte, std::vector<std::byte>& pass) {
    if (!std::exchange(escaped_, false)) {
        if (byte == escape) {
            escaped_ = true;
        } else {
            pass.push_back(byte);
        }
        return Command::none;
    }
    switch (std::to_integer<char>(byte)) {
        case 'x':
            return Command::quit;
        case 'b':
            return Command::send_break;
        case 'h':
        case '?':
            return Command::help;
        case 'a':
        case std::to_integer<char>(escape):
            pass.push_back(escape);
            return Command::none;
        default:
            pass.insert(pass.end(), {escape, byte});
            return Command::none;
    }
}

}  // namespace viaduct::console
