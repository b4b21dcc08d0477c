#include "tests/support/repeated.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>

#include "base/error.hpp"

namespace viaduct::test {

unsigned repeated(unsigned quick) {
    const char* times = std::getenv("VIADUCT_TIMES");
    if (times == nullptr) return quick;
    const std::string_view text = times;
    unsigned factor = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), factor);
    if (error != std::errc() || end != text.data() + text.size() || factor == 0) {
        throw Error("VIADUCT_TIMES is '{}'; it has to be a number above 0", text);
    }
    return quick * factor;
}

}  // namespace viaduct::test
