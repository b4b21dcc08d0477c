#include "vdpa/management/libkmod.hpp"

#include <dlfcn.h>
#include <libkmod.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/error.hpp"

namespace viaduct::management {

Libkmod::Libkmod() : library_(::dlopen("libkmod.so.2", RTLD_NOW)) {
    if (library_ == nullptr) {
        throw Error(
            "loading kernel modules takes libkmod.so.2, which is not there (apt-get install "
            "libkmod2): {}",
            ::dlerror());
    }
}

Libkmod::~Libkmod() {
    ::dlclose(library_);
}

template <typename Function>
Function* Libkmod::function(const char* name) const {
    void* const symbol = ::dlsym(library_, name);
    if (symbol == nullptr) throw Error("libkmod.so.2 has no {}", name);
    // POSIX: a function's address comes as a pointer to void (dlsym(3)).
    return reinterpret_cast<Function*>(symbol);
}

int Libkmod::insert(const std::string& module) const {
    const std::unique_ptr<kmod_ctx, decltype(&kmod_unref)> context(
        function<decltype(kmod_new)>("kmod_new")(nullptr, nullptr),
        function<decltype(kmod_unref)>("kmod_unref"));
    if (!context) return ENOMEM;
    kmod_module* named = nullptr;
    const int failed = function<decltype(kmod_module_new_from_name)>("kmod_module_new_from_name")(
        context.get(), module.c_str(), &named);
    if (failed != 0) return -failed;
    const std::unique_ptr<kmod_module, decltype(&kmod_module_unref)> owned(
        named, function<decltype(kmod_module_unref)>("kmod_module_unref"));
    const auto insert =
        function<decltype(kmod_module_probe_insert_module)>("kmod_module_probe_insert_module");
    return std::max(0, -insert(named, 0, nullptr, nullptr, nullptr, nullptr));
}

}  // namespace viaduct::management
