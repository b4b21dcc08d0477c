/// Debian's NBD servers, each on a unix socket of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {

class NbdServer {
public:
    enum class Kind { nbdkit, qemu };

    /// `arguments`: of nbdkit, its filters, plug-in and parameters; of qemu-nbd, its options and
    /// the file. It listens when this returns; Error with its own words if it does not.
    NbdServer(Kind kind, std::vector<std::string> arguments);

    [[nodiscard]] std::string socket() const { return directory_.path("socket"); }
    [[nodiscard]] std::string uri() const { return "nbd+unix:///?socket=" + socket(); }

    /// Another one in the place of the one that was killed, by the same command.
    void start();
    void kill();
    [[nodiscard]] bool running() const { return process_ && process_->running(); }
    /// For the next start.
    void change_arguments(std::vector<std::string> arguments) { arguments_ = std::move(arguments); }

private:
    [[nodiscard]] std::string ready() const { return directory_.path("pid"); }

    Kind kind_;
    std::vector<std::string> arguments_;
    TemporaryDirectory directory_;
    std::unique_ptr<Process> process_;
};

inline NbdServer nbdkit(std::vector<std::string> arguments) {
    return {NbdServer::Kind::nbdkit, std::move(arguments)};
}

}  // namespace viaduct::test
