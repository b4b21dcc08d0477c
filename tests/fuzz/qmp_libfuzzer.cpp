/// What libFuzzer calls for the target "qmp".
#include "tests/fuzz/libfuzzer.hpp"
#include "tests/fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return viaduct::fuzz::run_target(viaduct::fuzz::qmp, bytes, size);
}
