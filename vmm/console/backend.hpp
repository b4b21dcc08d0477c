/// What stands at the other end of the guest's serial port, as `--serial` says:
///
///   none        output goes nowhere, there is no input
///   stdio       the terminal, in raw mode while the machine has it and it is in the foreground
///               (Ctrl-a x quits, Ctrl-a h tells the rest), or whatever stands at standard input
///               and output; a pipe or file is taken byte for byte but for these keys
///   file:PATH   output only, from an empty file on; it is emptied when the machine has it
///   pty         a pseudoterminal; its name is printed on stderr when the machine has it
///   unix:PATH   a listening socket, one client at a time, any number one after another
///
/// How output waits for a slow reader, and what happens to it without one, is told in output.hpp.
/// Everything happens on the io_context's thread, but for what devices::Serial::Peer says.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "devices/serial.hpp"

namespace viaduct::console {

class SerialBackend : public devices::Serial::Peer {
public:
    /// When the machine is complete, before the vCPUs run. From now on input reaches the port,
    /// which outlives the attachment. Throws Error.
    virtual void attach(devices::Serial& serial) = 0;
    /// For good: the port is not called any more, and the terminal is put back.
    virtual void detach() noexcept = 0;

    /// The person asked to quit; the callback asks for an orderly end and does not bring it about
    /// from within.
    void on_quit(std::function<void()> callback) { quit_ = std::move(callback); }

    /// Output that never reached a reader, in bytes.
    [[nodiscard]] virtual std::uint64_t lost() const noexcept = 0;

protected:
    void quit() const {
        if (quit_) quit_();
    }

private:
    std::function<void()> quit_;
};

/// Opens what `spec` says. Throws Error that says what is wrong with it. SIGPIPE is ignored from
/// here on: a reader that goes away is an error of write(2), not the end of the machine.
///
/// The backend is destroyed on the io_context's thread, before the io_context and after the vCPUs
/// came to their end: what its reader has not yet taken is written then, and the terminal put back.
std::unique_ptr<SerialBackend> open_serial(const std::string& spec, boost::asio::io_context& io);

}  // namespace viaduct::console
