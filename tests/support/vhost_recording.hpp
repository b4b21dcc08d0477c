/// What a vhost-vdpa node answers to a fixed sequence of calls, as text: one "name result" line per
/// call, a result being a value, "ok" or an errno's name. Recordings of real devices are kept in
/// tests/recordings; the lab compares them with the devices, and the fake in the kernel's place in
/// unit tests is made from them.
#pragma once

#include <map>
#include <string>

#include "vdpa/vhost/node.hpp"

namespace viaduct::test {

/// Makes the calls. The node must have been opened just now; it is left reset.
std::string record_vhost_node(vhost::Node& node);

/// The lines of a recording by name.
std::map<std::string, std::string> parse_recording(const std::string& text);

/// tests/recordings/NAME.txt
std::string load_recording(const std::string& name);

}  // namespace viaduct::test
