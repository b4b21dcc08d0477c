#include <fcntl.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "vmm/console/backends.hpp"
#include "vmm/console/stream_backend.hpp"

namespace viaduct::console {
namespace {

class FileBackend final : public StreamBackend {
public:
    FileBackend(boost::asio::io_context& io, const std::string& path)
        : StreamBackend(io, path, Output::Reader::fixed), descriptor_(io) {
        // Non-blocking for what is not a regular file: a FIFO, a terminal.
        constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
        const int fd = ::open(path.c_str(), flags, 0666);
        if (fd < 0 && errno == ENXIO) {
            throw Error("--serial file:{}: nobody reads the FIFO yet: start its reader first",
                        path);
        }
        if (fd < 0) throw SystemError("--serial file:" + path);
        descriptor_.assign(fd);
        output_.connect(descriptor_);
    }
    FileBackend(const FileBackend&) = delete;
    FileBackend& operator=(const FileBackend&) = delete;
    ~FileBackend() override { finish(); }

private:
    Descriptor descriptor_;
};

}  // namespace

std::unique_ptr<SerialBackend> open_file(boost::asio::io_context& io, const std::string& path) {
    return std::make_unique<FileBackend>(io, path);
}

}  // namespace viaduct::console
