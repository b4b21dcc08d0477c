#include "vmm/ctl/screen.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>

#include "vmm/ctl/session.hpp"
#include "vmm/ctl/table.hpp"

namespace viaduct::ctl {
namespace {

constexpr std::string_view hide_cursor = "\033[?25l";
constexpr std::string_view show_cursor = "\033[?25h";
constexpr std::string_view clear_all = "\033[H\033[2J";
constexpr std::string_view to_corner = "\033[H";
constexpr std::string_view clear_line_rest = "\033[K";
constexpr std::string_view clear_below = "\033[J";

/// Also in a signal handler.
void write_to_terminal(std::string_view text) noexcept {
    [[maybe_unused]] const auto written = ::write(STDOUT_FILENO, text.data(), text.size());
}

void suspend(int) noexcept {
    write_to_terminal(show_cursor);
    // SIGSTOP is not to be caught, and stops as SIGTSTP would have.
    ::raise(SIGSTOP);
}

void resume(int) noexcept {
    write_to_terminal(hide_cursor);
}

void handle(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    ::sigaction(signal, &action, nullptr);
}

/// At most that many characters of UTF-8.
std::string_view cut(std::string_view line, std::size_t columns) {
    std::size_t end = line.size();
    while (width_of(line.substr(0, end)) > columns) --end;
    return line.substr(0, end);
}

}  // namespace

Screen::Screen() : is_terminal_(::isatty(STDOUT_FILENO) != 0) {
    if (!is_terminal_) return;
    handle(SIGTSTP, suspend);
    handle(SIGCONT, resume);
    Session::print(hide_cursor);
    Session::print(clear_all);
}

Screen::~Screen() {
    if (!is_terminal_) return;
    handle(SIGTSTP, SIG_DFL);
    handle(SIGCONT, SIG_DFL);
    write_to_terminal(show_cursor);
}

void Screen::draw(std::string_view view) {
    if (is_terminal_) {
        winsize size{};
        const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
        return Session::print(redrawn(view, known ? size.ws_col : 80, known ? size.ws_row : 24));
    }
    if (!is_first_) Session::print("\n");
    is_first_ = false;
    Session::print(view);
}

std::string redrawn(std::string_view view, std::size_t columns, std::size_t lines) {
    std::string text(to_corner);
    // The last line stays empty: the line's end after it would scroll.
    for (std::size_t line = 1; line < lines && !view.empty(); ++line) {
        const auto end = view.find('\n');
        text.append(cut(view.substr(0, end), columns)).append(clear_line_rest).append("\n");
        view.remove_prefix(end == std::string_view::npos ? view.size() : end + 1);
    }
    return text.append(clear_below);
}

}  // namespace viaduct::ctl
