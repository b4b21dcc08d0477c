/// The machine's DSDT, compiled from dsdt.asl by iasl when Viaduct is built.
#pragma once

#include <cstddef>
#include <span>

namespace viaduct::firmware::acpi {

[[nodiscard]] std::span<const std::byte> dsdt() noexcept;

}  // namespace viaduct::firmware::acpi
