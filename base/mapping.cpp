#include "base/mapping.hpp"

#include "base/error.hpp"

namespace viaduct {

Mapping::Mapping(const char* what, std::size_t size, int protection, int flags, int fd,
                 off_t offset) {
    void* address = ::mmap(nullptr, size, protection, flags, fd, offset);
    if (address == MAP_FAILED) throw SystemError(fmt::format("mmap of {} ({} bytes)", what, size));
    bytes_ = {static_cast<std::byte*>(address), size};
}

Mapping::~Mapping() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

}  // namespace viaduct
