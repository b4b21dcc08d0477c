/// Standard output as the place of a view that is drawn again and again: over itself on a terminal,
/// one after the other where there is none.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace viaduct::ctl {

/// While it lives the terminal's cursor is hidden, but for the time the program is suspended
/// (Ctrl-Z). One at a time.
class Screen {
public:
    Screen();
    Screen(const Screen&) = delete;
    Screen& operator=(const Screen&) = delete;
    ~Screen();

    /// Whole lines. Throws Error when they cannot be written.
    void draw(std::string_view view);

private:
    bool is_terminal_;
    bool is_first_ = true;
};

/// As much of the view as a terminal of that size holds without breaking a line, each line with
/// what clears its rest; from the top left corner, the screen below it cleared.
[[nodiscard]] std::string redrawn(std::string_view view, std::size_t columns, std::size_t lines);

}  // namespace viaduct::ctl
