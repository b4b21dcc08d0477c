/// A listening stream socket, whatever its family: what UnixListener and TcpListener have in
/// common.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "base/fd.hpp"

namespace viaduct {

class ListeningSocket {
public:
    /// How long to leave the socket alone after accept() threw: who waits there is seen again at
    /// once, and what is missing is seldom back by then.
    static constexpr std::chrono::milliseconds rest{500};

    ListeningSocket(const ListeningSocket&) = delete;
    ListeningSocket& operator=(const ListeningSocket&) = delete;
    virtual ~ListeningSocket() = default;

    /// Where clients find it: "unix:/run/vm.sock", "tcp:127.0.0.1:4444".
    [[nodiscard]] const std::string& address() const noexcept { return address_; }
    /// Non-blocking, readable when somebody connects; -1 when closed.
    [[nodiscard]] int fd() const noexcept { return socket_.get(); }

    /// The next connection, non-blocking; empty when nobody waits or the socket is closed. Throws
    /// SystemError when the process or the machine is out of descriptors or memory.
    [[nodiscard]] Fd accept();

    /// Stops listening; what stood in the file system for it is gone too.
    virtual void close() noexcept = 0;

protected:
    static constexpr int backlog = 16;  // clients that may wait for accept()

    /// `option` is the operator's ("--qmp"): errors begin with it and the address.
    ListeningSocket(std::string_view option, std::string address);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// The address turned out to be another one than asked for.
    void set_address(std::string address) { address_ = std::move(address); }

    Fd socket_;

private:
    std::string address_;
    std::string name_;  // in errors
};

}  // namespace viaduct
