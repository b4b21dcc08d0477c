#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <optional>
#include <string_view>
#include <vector>

#include <boost/asio/signal_set.hpp>

#include "base/error.hpp"
#include "base/own_descriptor.hpp"
#include "vmm/console/backends.hpp"
#include "vmm/console/escape.hpp"
#include "vmm/console/stream_backend.hpp"
#include "vmm/console/terminal.hpp"

namespace viaduct::console {
namespace {

void tell(std::string_view text) {
    // Past the log, whose level and prefix are not for an answer to a key.
    (void)!::write(STDERR_FILENO, text.data(), text.size());
}

class StdioBackend final : public StreamBackend {
public:
    explicit StdioBackend(boost::asio::io_context& io)
        : StreamBackend(io, "standard output", Output::Reader::fixed),
          in_(io),
          out_(io),
          signals_(io) {
        open_output();
        open_input();
    }
    StdioBackend(const StdioBackend&) = delete;
    StdioBackend& operator=(const StdioBackend&) = delete;
    ~StdioBackend() override { finish(); }

    /// Only now is the terminal the guest's: until then Ctrl-C ends a start that takes too long.
    void attach(devices::Serial& serial) override {
        if (in_.is_open()) {
            if (::isatty(STDIN_FILENO) != 0) use_terminal();
            input_.connect(in_, [](int /*error*/) {});
        }
        StreamBackend::attach(serial);
    }

    /// There is nothing more to type, and who ends the VMM meanwhile finds the terminal as it was.
    void detach() noexcept override {
        StreamBackend::detach();
        input_.disconnect();
        boost::system::error_code ignored;
        signals_.cancel(ignored);
        if (terminal_) terminal_->leave();
    }

private:
    void open_output() {
        Fd fd = own_descriptor(STDOUT_FILENO, O_WRONLY);
        if (!fd) {
            throw Error(
                "--serial stdio: standard output is closed: give one (>/dev/null) or use "
                "--serial none");
        }
        out_.assign(fd.release());
        output_.connect(out_);
    }

    void open_input() {
        Fd fd = own_descriptor(STDIN_FILENO, O_RDONLY);
        if (!fd) return;
        in_.assign(fd.release());
        input_.filter_by([this](Input::Bytes bytes) { take(bytes); });
    }

    void use_terminal() {
        terminal_.emplace(STDIN_FILENO);
        // In the background the keys are the shell's, and reading them would stop the process.
        input_.read_only_while([this] {
            if (!RawTerminal::in_foreground(STDIN_FILENO)) return false;
            terminal_->enter();
            return true;
        });
        input_.never_wait_for_guest();
        signals_.add(SIGTSTP);
        signals_.add(SIGCONT);
        wait_for_signal();
    }

    /// Stopped, the person has the terminal as it was; continued in the foreground, the guest has
    /// it.
    void wait_for_signal() {
        signals_.async_wait(
            lifeline_.bind([this](const boost::system::error_code& error, int number) {
                if (error) return;
                if (number == SIGTSTP) {
                    terminal_->leave();
                    ::raise(SIGSTOP);  // this thread goes no further until it is continued
                }
                terminal_->enter_again();
                wait_for_signal();
            }));
    }

    void take(Input::Bytes bytes) {
        std::vector<std::byte> pass;
        pass.reserve(bytes.size());
        for (const std::byte byte : bytes) {
            const auto command = escapes_.feed(byte, pass);
            if (command == EscapeParser::Command::none) continue;
            input_.put(pass);
            pass.clear();
            obey(command);
        }
        input_.put(pass);
    }

    void obey(EscapeParser::Command command) {
        switch (command) {
            case EscapeParser::Command::quit:
                quit();
                break;
            case EscapeParser::Command::send_break:
                input_.put_break();
                break;
            case EscapeParser::Command::help:
                tell(EscapeParser::help_text);
                break;
            case EscapeParser::Command::none:
                break;
        }
    }

    std::optional<RawTerminal> terminal_;
    Descriptor in_;
    Descriptor out_;
    boost::asio::signal_set signals_;
    EscapeParser escapes_;
};

}  // namespace

std::unique_ptr<SerialBackend> open_stdio(boost::asio::io_context& io) {
    return std::make_unique<StdioBackend>(io);
}

}  // namespace viaduct::console
