#include "tests/support/temporary_directory.hpp"

#include <cstdlib>
#include <system_error>

#include "base/error.hpp"

namespace viaduct::test {

TemporaryDirectory::TemporaryDirectory(const std::filesystem::path& parent) {
    std::string name = parent / "viaduct-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw SystemError("mkdtemp " + name);
    root_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
}

}  // namespace viaduct::test
