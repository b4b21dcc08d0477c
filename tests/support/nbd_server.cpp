#include "tests/support/nbd_server.hpp"

#include <csignal>
#include <filesystem>

#include "base/error.hpp"
#include "tests/support/eventually.hpp"

namespace viaduct::test {

NbdServer::NbdServer(Kind kind, std::vector<std::string> arguments)
    : kind_(kind), arguments_(std::move(arguments)) {
    start();
}

void NbdServer::start() {
    std::filesystem::remove(socket());
    std::filesystem::remove(ready());
    std::vector<std::string> command;
    if (kind_ == Kind::nbdkit) {
        command = {"nbdkit", "-f", "-U", socket(), "-P", ready()};
    } else {
        command = {"qemu-nbd", "-k", socket(), "--pid-file=" + ready()};
    }
    command.insert(command.end(), arguments_.begin(), arguments_.end());
    process_ = std::make_unique<Process>(command, Seconds(600));
    // Both write it when they listen.
    const bool listens =
        eventually([&] { return std::filesystem::exists(ready()) || !process_->running(); });
    if (!listens || !process_->running()) throw Error("{}", process_->err());
}

void NbdServer::kill() {
    process_->send_signal(SIGKILL);
    (void)process_->wait();
    process_.reset();
}

}  // namespace viaduct::test
