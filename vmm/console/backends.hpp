/// The makers of the backends, one for each form of `--serial`.
#pragma once

#include <memory>
#include <string>

#include "vmm/console/backend.hpp"

namespace viaduct::console {

std::unique_ptr<SerialBackend> open_nothing();
std::unique_ptr<SerialBackend> open_stdio(boost::asio::io_context& io);
std::unique_ptr<SerialBackend> open_file(boost::asio::io_context& io, const std::string& path);
std::unique_ptr<SerialBackend> open_pty(boost::asio::io_context& io);
std::unique_ptr<SerialBackend> open_unix_socket(boost::asio::io_context& io,
                                                const std::string& path);

}  // namespace viaduct::console
