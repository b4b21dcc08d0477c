/// What libFuzzer calls. Built once per target, which VIADUCT_FUZZ_TARGET names.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "base/log.hpp"
#include "tests/fuzz/targets.hpp"

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
    viaduct::log::set_level(viaduct::log::Level::off);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    try {
        viaduct::fuzz::VIADUCT_FUZZ_TARGET({reinterpret_cast<const char*>(bytes), size});
    } catch (const std::exception& violation) {
        std::fprintf(stderr, "VIOLATION: %s\n", violation.what());
        std::abort();
    }
    return 0;
}
