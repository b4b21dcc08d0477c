/// Kernel modules by name: whether one is loaded, is part of the kernel or lies in /lib/modules;
/// its parameters; loading it with what it depends on and the options of /etc/modprobe.d (libkmod,
/// which is looked for only when a module is to be loaded).
#pragma once

#include <optional>
#include <string>

#include "vdpa/management/roots.hpp"

namespace viaduct::management {

enum class ModuleState {
    loaded,
    built_in,   // part of the kernel: always there
    available,  // can be loaded
    missing,    // this kernel has none
};

/// The running kernel's: "6.12.117+deb12-amd64".
[[nodiscard]] std::string kernel_release();

[[nodiscard]] ModuleState module_state(const Roots& roots, const std::string& module,
                                       const std::string& release = kernel_release());

/// As /sys/module/…/parameters has it; nothing when the module is not loaded or has none.
[[nodiscard]] std::optional<std::string> module_parameter(const Roots& roots,
                                                          const std::string& module,
                                                          const std::string& parameter);

/// What gives a kernel a module that it has not: a kernel option, and where Debian has it.
[[nodiscard]] std::string remedy_for_missing(const std::string& module);

/// Nothing to do when it is there already. Throws Error that says what to do: this kernel has none,
/// not permitted, no libkmod.
void load_module(const std::string& module);

}  // namespace viaduct::management
