#include "tests/fuzz/libfuzzer.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/log.hpp"

namespace viaduct::fuzz {

int run_target(void (*target)(std::string_view), const std::uint8_t* bytes, std::size_t size) {
    try {
        log::set_level(log::Level::off);
        target({reinterpret_cast<const char*>(bytes), size});
    } catch (const std::exception& violation) {
        std::fprintf(stderr, "VIOLATION: %s\n", violation.what());
        std::abort();
    }
    return 0;
}

}  // namespace viaduct::fuzz
