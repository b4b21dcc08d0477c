#include "vmm/console/stream_backend.hpp"

#include <chrono>

#include "base/log.hpp"

namespace viaduct::console {
namespace {

/// How long the end of the machine waits for a reader that takes nothing.
constexpr std::chrono::seconds patience(2);

}  // namespace

StreamBackend::StreamBackend(boost::asio::io_context& io, std::string name, Output::Reader reader)
    : io_(io),
      output_(io, std::move(name), reader,
              [this] {
                  if (serial_ != nullptr) serial_->transmit_ready();
              }),
      input_(io) {}

void StreamBackend::attach(devices::Serial& serial) {
    serial_ = &serial;
    serial.transmit_ready();
    input_.attach(serial);
}

void StreamBackend::detach() noexcept {
    serial_ = nullptr;
    input_.detach();
}

void StreamBackend::finish() noexcept {
    detach();
    output_.drain(patience);
    if (lost() != 0) log::warning("{} bytes of the serial port's output were lost", lost());
}

}  // namespace viaduct::console
