/// The few AML opcodes that the generated SSDT is made of (ACPI 6.4, 20.2). Everything that is the
/// same for every machine is in dsdt.asl instead.
#pragma once

#include <cstdint>
#include <string_view>

#include "firmware/acpi/table.hpp"

namespace viaduct::firmware::acpi::aml {

/// `path` is one name of four characters, or several joined by '.', with '\' in front when
/// absolute.
[[nodiscard]] Bytes name_string(std::string_view path);
[[nodiscard]] Bytes integer(std::uint64_t value);
[[nodiscard]] Bytes string(std::string_view text);

/// Name (name, value)
[[nodiscard]] Bytes name(std::string_view name, const Bytes& value);
/// Scope (path) { body }
[[nodiscard]] Bytes scope(std::string_view path, const Bytes& body);
/// Device (name) { body }
[[nodiscard]] Bytes device(std::string_view name, const Bytes& body);

[[nodiscard]] Bytes join(std::initializer_list<Bytes> parts);

}  // namespace viaduct::firmware::acpi::aml
