// Keys of the command line: `key=value` words separated by spaces.
#pragma once

#include <cstdint>

#include "guest-images/probe/text.hpp"

namespace probe {

// The value of a key, or the default when the key is absent.
Text option(Text key, Text otherwise = {});
// As a number (see parse_number); anything else ends the run with a message.
uint64_t option_number(Text key, uint64_t otherwise);
// `on` or `off`.
bool option_switch(Text key, bool otherwise = false);

// `reference=qemu`: the machine is QEMU. A few scenarios then expect what QEMU does where it
// departs from the specification or from our definition; README.md lists every such place.
bool runs_on_qemu();

}  // namespace probe
