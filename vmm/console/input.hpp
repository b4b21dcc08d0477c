/// The way into a serial port: reads a descriptor and offers the bytes to the UART; what its FIFO
/// has no room for waits here, and while it does, the descriptor is not read, so that whoever
/// writes to it waits too and nothing is lost. All on the io_context's thread, room_for_input()
/// excepted.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "devices/serial.hpp"
#include "vmm/console/lifeline.hpp"

namespace viaduct::console {

class Input {
public:
    using Descriptor = boost::asio::posix::stream_descriptor;
    using Bytes = std::span<const std::byte>;

    explicit Input(boost::asio::io_context& io) : io_(io), retry_(io) {}
    Input(const Input&) = delete;
    Input& operator=(const Input&) = delete;
    ~Input() = default;

    /// Where input goes; until then it waits.
    void attach(devices::Serial& serial);
    void detach() noexcept { serial_ = nullptr; }

    /// Each piece that was read goes through here, and what it gives to put() on to the guest.
    void filter_by(std::function<void(Bytes)> filter) { filter_ = std::move(filter); }
    /// Reads nothing while this says no; asks again every second.
    void read_only_while(std::function<bool()> may_read) { may_read_ = std::move(may_read); }
    /// Reads on when the guest does not take its input, so that the filter still sees everything;
    /// what then has no place is lost, and said once.
    void never_wait_for_guest() { waits_for_guest_ = false; }

    /// Reads from the descriptor, which is the caller's and outlives the connection, until its end:
    /// `on_end` hears of it (0), or of the errno that ended it.
    void connect(Descriptor& descriptor, std::function<void(int error)> on_end);
    void disconnect() noexcept { descriptor_ = nullptr; }

    /// Input for the guest, from a filter.
    void put(Bytes bytes);
    void put_break();

    /// The UART has room; from any thread.
    void room_for_input() noexcept;

private:
    void wait();
    void read_once();
    void offer();
    [[nodiscard]] bool is_full() const noexcept;

    boost::asio::io_context& io_;
    boost::asio::steady_timer retry_;
    devices::Serial* serial_ = nullptr;
    Descriptor* descriptor_ = nullptr;
    std::function<void(int)> on_end_;
    std::function<void(Bytes)> filter_;
    std::function<bool()> may_read_;
    bool waits_for_guest_ = true;
    bool waiting_ = false;  // for the descriptor, or to ask again
    bool said_lost_ = false;
    std::vector<std::byte> pending_;
    Lifeline lifeline_;
};

}  // namespace viaduct::console
