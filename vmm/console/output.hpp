/// The way out of a serial port: a vCPU's bytes go straight to a descriptor; what its reader does
/// not take at once is kept and written by the io_context. Never blocks, loses nothing silently.
///
///   - A reader that is there and slow: past `hold_at` kept bytes the guest is asked to wait (the
///     UART's THRE stays 0) until half of them are gone. A driver that writes all the same fills
///     the backlog up to `limit`; from there on its newest bytes are lost.
///   - No reader (`Reader::comes_and_goes`): the newest `hold_at` bytes are kept for the next one,
///     older ones are lost, and the guest never waits.
///   - A descriptor that fails (disk full, pipe closed) takes bytes away; the next are tried again.
/// Every lost byte is counted, and the first of each kind logged once with the reason.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "vmm/console/lifeline.hpp"

namespace viaduct::console {

class Output {
public:
    using Descriptor = boost::asio::posix::stream_descriptor;
    enum class Reader { fixed, comes_and_goes };

    static constexpr std::size_t hold_at = std::size_t{64} * 1024;
    static constexpr std::size_t limit = std::size_t{1024} * 1024;

    /// `name` is how messages call the reader. `on_ready` runs on the io_context's thread when a
    /// guest that was asked to wait may go on.
    Output(boost::asio::io_context& io, std::string name, Reader reader,
           std::function<void()> on_ready);
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;
    ~Output() = default;

    /// The descriptor is the caller's and outlives the connection. It need not be non-blocking:
    /// then it is asked before each write. What was kept goes out first.
    void connect(Descriptor& descriptor);
    void disconnect() noexcept;

    /// From any thread. Takes the byte, always; false asks the guest to wait.
    bool transmit(std::byte byte) noexcept;

    /// Writes what is kept, waiting for the reader as long as it takes at least one byte in each
    /// `patience`. What it does not take is lost.
    void drain(std::chrono::milliseconds patience) noexcept;

    [[nodiscard]] std::uint64_t lost() const noexcept;
    /// Bytes kept for the reader.
    [[nodiscard]] std::size_t kept() const noexcept;

private:
    enum class Loss : unsigned { reader_failed, reader_slow, no_reader, reader_gave_up };

    [[nodiscard]] std::size_t kept_locked() const noexcept { return backlog_.size() - first_; }
    [[nodiscard]] bool write_kept() noexcept;
    [[nodiscard]] std::size_t write_once(const std::byte* bytes, std::size_t size) noexcept;
    void discard_oldest(std::size_t count) noexcept;
    void keep(std::byte byte) noexcept;
    void lose(std::size_t count, Loss loss, int error) noexcept;
    void report(Loss loss, int error) const;
    void flush();
    void wait_for_reader();

    boost::asio::io_context& io_;
    const std::string name_;
    const Reader reader_;
    const std::function<void()> on_ready_;

    mutable std::mutex mutex_;  // guards what follows
    Descriptor* descriptor_ = nullptr;
    bool never_blocks_ = false;
    std::vector<std::byte> backlog_;
    std::size_t first_ = 0;      // the oldest kept byte
    bool flush_posted_ = false;  // the io_context was asked to flush
    bool guest_waits_ = false;   // transmit() said false
    std::uint64_t lost_ = 0;
    unsigned reported_ = 0;  // a bit for each Loss

    bool waiting_ = false;  // for the descriptor; the io_context's thread only
    Lifeline lifeline_;
};

}  // namespace viaduct::console
