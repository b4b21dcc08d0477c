/// A directory of a test's own under the system's temporary one, gone with all that is in it.
#pragma once

#include <filesystem>
#include <string>

namespace viaduct::test {

class TemporaryDirectory {
public:
    explicit TemporaryDirectory(
        const std::filesystem::path& parent = std::filesystem::temp_directory_path());
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();

    [[nodiscard]] std::string path(const std::string& name) const { return root_ / name; }

private:
    std::filesystem::path root_;
};

}  // namespace viaduct::test
