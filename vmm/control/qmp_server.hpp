/// The QMP server: QEMU's wire protocol on any number of sockets, for several clients at once, and
/// on standard input and output.
///
///     CommandTable commands;  // the machine's commands are added to it
///     QmpServer server(io, commands);
///     server.listen("unix:/run/vm.sock");
///     …
///     server.emit("SHUTDOWN", {{"guest", true}, {"reason", "guest-shutdown"}});
///     server.finish([&] { io.stop(); });
///
/// Runs wholly on the thread of the io_context, and costs nothing until the first `listen`. The
/// io_context and the table must outlive it; what commands refer to must outlive the io_context,
/// which holds the commands that still wait.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/json/fwd.hpp>

#include "vmm/control/limits.hpp"

namespace viaduct::control {

class CommandTable;

class QmpServer {
public:
    QmpServer(boost::asio::io_context& io, const CommandTable& commands, const Limits& limits = {});
    QmpServer(const QmpServer&) = delete;
    QmpServer& operator=(const QmpServer&) = delete;
    /// Closes every connection at once and removes the socket files.
    ~QmpServer();

    /// Accepts clients on `unix:PATH` or `tcp:ADDRESS:PORT`, or has one on `stdio` (address.hpp);
    /// its end is the end of that conversation only. A port that the kernel picked is told on
    /// stderr. Throws Error that tells the operator what stands in the way. To be called before
    /// other threads emit events.
    void listen(std::string_view address);

    /// Sends an event, stamped with the present time, to every client that has negotiated. From any
    /// thread; events of one thread arrive in their order.
    void emit(std::string_view event);
    void emit(std::string_view event, boost::json::object content);

    /// Says goodbye: stops listening, takes no further request, waits until the request that runs
    /// is answered and all output is taken (`Limits::farewell` at most), closes, and calls `done`
    /// on the io_context's thread. From any thread; events that this thread emitted before are part
    /// of the output.
    void finish(std::function<void()> done);

private:
    class Hub;

    boost::asio::io_context& io_;
    const CommandTable& commands_;
    Limits limits_;
    std::shared_ptr<Hub> hub_;  // made by the first listen
};

}  // namespace viaduct::control
