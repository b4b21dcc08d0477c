/// The person's terminal in raw mode, so that every key, Ctrl-C included, reaches the guest; put
/// back as it was on every way out: the destructor, std::exit, and any signal that ends the
/// process, save SIGKILL. One at a time in a process.
///
/// Output processing stays on, so that the VMM's own messages look right. The terminal is touched
/// only while the process is in its foreground: otherwise it belongs to somebody else, and the
/// kernel would stop the process for trying.
#pragma once

namespace viaduct::console {

class RawTerminal {
public:
    /// `fd` is a terminal and outlives this. Enters raw mode when in the foreground. Signals that
    /// somebody else handles by then (an orderly shutdown on SIGTERM) stay theirs.
    explicit RawTerminal(int fd);
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal();

    /// Raw mode, unless it is on already or the process is in the background.
    void enter() noexcept;
    /// The same after the process was stopped: others had the terminal in between.
    void enter_again() noexcept;
    /// The terminal as it was found.
    void leave() noexcept;

    /// True when the process may read from the terminal and change it.
    [[nodiscard]] static bool in_foreground(int fd) noexcept;
};

}  // namespace viaduct::console
