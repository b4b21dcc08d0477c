/// Conversations over generic netlink, recorded from a real kernel and played again: a line for
/// each datagram, in hexadecimal, "> " to the kernel and "< " from it. Port numbers, which differ
/// from run to run, are 0 in it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vdpa/management/netlink_socket.hpp"

namespace viaduct::test {

/// Writes to `record` what passes through it to the kernel and back.
std::unique_ptr<management::NetlinkSocket> recording_netlink_socket(std::string& record);

/// Answers as recorded. Throws Error when something else is asked than what was then.
std::unique_ptr<management::NetlinkSocket> replayed_netlink_socket(const std::string& record);

std::string hex_of(std::span<const std::byte> bytes);

}  // namespace viaduct::test
