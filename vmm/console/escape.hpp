/// The keys by which a person at the terminal speaks to the VMM instead of the guest, as in QEMU's
/// -nographic: Ctrl-a, then a letter.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace viaduct::console {

class EscapeParser {
public:
    enum class Command { none, quit, send_break, help };

    static constexpr std::byte escape{0x01};  // Ctrl-a
    static constexpr std::string_view help_text =
        "\n"
        "Ctrl-a x  quit the virtual machine\n"
        "Ctrl-a b  send a break (magic SysRq)\n"
        "Ctrl-a a  send Ctrl-a\n"
        "Ctrl-a h  this help\n";

    /// Takes one byte from the terminal. What is the guest's is appended to `pass`: everything but
    /// the commands; Ctrl-a with an unknown key passes as both.
    Command feed(std::byte byte, std::vector<std::byte>& pass);

private:
    bool escaped_ = false;
};

}  // namespace viaduct::console
