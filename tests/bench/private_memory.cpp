#include "tests/bench/private_memory.hpp"

#include <fstream>
#include <sstream>
#include <string>

#include <fmt/core.h>

#include "base/error.hpp"

namespace viaduct::bench {

std::uint64_t private_memory(pid_t process, std::uint64_t guest_memory) {
    std::ifstream smaps(fmt::format("/proc/{}/smaps", process));
    std::uint64_t bytes = 0;
    int guests = 0;
    bool is_guest = false;
    std::string line;
    while (std::getline(smaps, line)) {
        std::istringstream words(line);
        std::string name;
        std::uint64_t kibibytes = 0;
        words >> name >> kibibytes;
        if (name == "Size:") {  // the first field of a mapping
            is_guest = kibibytes * 1024 == guest_memory;
            guests += is_guest ? 1 : 0;
        } else if (!is_guest && (name == "Private_Clean:" || name == "Private_Dirty:")) {
            bytes += kibibytes * 1024;
        }
    }
    if (guests != 1) {
        throw Error("process {} has {} mappings of {} bytes: which is the guest's memory?", process,
                    guests, guest_memory);
    }
    return bytes;
}

}  // namespace viaduct::bench
