/// What the backends with a descriptor have in common: an Output and an Input, tied to the port.
#pragma once

#include <string>

#include "vmm/console/backend.hpp"
#include "vmm/console/input.hpp"
#include "vmm/console/output.hpp"

namespace viaduct::console {

class StreamBackend : public SerialBackend {
public:
    bool transmit(std::byte byte) noexcept final { return output_.transmit(byte); }
    void room_for_input() noexcept final { input_.room_for_input(); }
    void attach(devices::Serial& serial) override;
    void detach() noexcept override;
    [[nodiscard]] std::uint64_t lost() const noexcept final { return output_.lost(); }

protected:
    using Descriptor = boost::asio::posix::stream_descriptor;

    StreamBackend(boost::asio::io_context& io, std::string name, Output::Reader reader);

    /// For the destructors, while the descriptor is still there.
    void finish() noexcept;

    boost::asio::io_context& io_;
    Output output_;
    Input input_;
    Lifeline lifeline_;

private:
    devices::Serial* serial_ = nullptr;
};

}  // namespace viaduct::console
