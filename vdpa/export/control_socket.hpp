/// How `viaduct-export stop` and `resize` reach the daemon: a unix socket beside its state, one
/// word in, one line back, "ok …" or "error …". An empty word asks whether anybody is there.
#pragma once

#include <functional>
#include <string>

#include "base/unix_listener.hpp"

namespace viaduct::vduse {

class ControlSocket {
public:
    ControlSocket(const std::string& folder, const std::string& name);

    /// Readable when somebody asks.
    [[nodiscard]] int fd() const noexcept { return listener_.fd(); }
    /// Takes one request and answers what `handle` returns for it, or the text of its Error. Waits
    /// no longer than a moment for either.
    void serve(const std::function<std::string(const std::string& request)>& handle);

private:
    UnixListener listener_;
};

/// The daemon's answer, without "ok". Throws Error with what it refused, or when there is none.
std::string ask_daemon(const std::string& folder, const std::string& name,
                       const std::string& request);
/// Whether there is one that answers: one that was killed may take a while to be gone.
bool has_daemon(const std::string& folder, const std::string& name);
/// The socket of one that was killed goes.
void forget_daemon(const std::string& folder, const std::string& name) noexcept;

}  // namespace viaduct::vduse
