#include "tests/support/temporary_directory.hpp"

#include <cstdlib>
#include <system_error>

#include "base/error.hpp"

namespace viaduct::test {

TemporaryDirectory::TemporaryDirectory() {
    std::string name = std::filesystem::temp_directory_path() / "viaduct-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw SystemError("mkdtemp " + name);
    root_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
}

}  // namespace viaduct::test
