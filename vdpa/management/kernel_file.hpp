/// Files of sysfs and procfs: one short text each.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct::management {

/// The whole text without the line's end; nothing when it cannot be read.
[[nodiscard]] std::optional<std::string> read_kernel_file(const std::filesystem::path& file);

/// In one write(2): 0, or the errno.
[[nodiscard]] int write_kernel_file(const std::filesystem::path& file, std::string_view text);

/// The last component of what a symbolic link points to; nothing when there is none.
[[nodiscard]] std::optional<std::string> name_behind_link(const std::filesystem::path& link);

/// The names in a directory that begin with `prefix`, in order; none when it cannot be read.
[[nodiscard]] std::vector<std::string> names_in(const std::filesystem::path& directory,
                                                std::string_view prefix = {});

}  // namespace viaduct::management
