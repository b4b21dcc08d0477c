/// libkmod, opened with dlopen(3) by who loads a module: it brings libcrypto and two decompressors
/// along, which would double the time that every other command takes to start, and there is no
/// static one.
#pragma once

#include <string>

namespace viaduct::management {

class Libkmod {
public:
    /// Throws Error when the library is not installed.
    Libkmod();
    Libkmod(const Libkmod&) = delete;
    Libkmod& operator=(const Libkmod&) = delete;
    ~Libkmod();

    /// Loads a module and those it depends on, with the options of modprobe.d(5). 0, or the errno.
    [[nodiscard]] int insert(const std::string& module) const;

private:
    template <typename Function>
    [[nodiscard]] Function* function(const char* name) const;

    void* library_;
};

}  // namespace viaduct::management
