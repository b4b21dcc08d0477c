/// What every fuzzer has; the functions that libFuzzer calls are in NAME_libfuzzer.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace viaduct::fuzz {

/// What LLVMFuzzerTestOneInput does and returns. A violation ends the program, as libFuzzer wants.
int run_target(void (*target)(std::string_view), const std::uint8_t* bytes, std::size_t size);

}  // namespace viaduct::fuzz
