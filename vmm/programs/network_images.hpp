/// What reaches images across a network stands on shared libraries (libnbd alone on a dozen
/// others), which would cost each machine start-up time and memory, and which a static program
/// cannot load: one that calls dlopen() gets a second C library, whose threads and locales are not
/// set up. So there are two programs, the same but for these libraries: `viaduct`, and
/// `viaduct-network` beside it, which takes the place of `viaduct` in its process when a device has
/// such an image.
#pragma once

#include "vmm/config.hpp"

namespace viaduct::vmm {

/// First of all, with the program's own arguments. In `viaduct`: becomes viaduct-network when
/// `config` needs it, and otherwise returns. In viaduct-network: has open_image() know what it was
/// built with. Throws Error that says what is missing.
void prepare_network_images(const Config& config, char** argv);

}  // namespace viaduct::vmm
