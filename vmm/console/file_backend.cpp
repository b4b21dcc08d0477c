#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "vmm/console/backends.hpp"
#include "vmm/console/stream_backend.hpp"

namespace viaduct::console {
namespace {

class FileBackend final : public StreamBackend {
public:
    FileBackend(boost::asio::io_context& io, const std::string& path)
        : StreamBackend(io, path, Output::Reader::fixed), path_(path), descriptor_(io) {
        // Non-blocking for what is not a regular file: a FIFO, a terminal.
        constexpr int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
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

    /// Only now is the file emptied: a start that is refused leaves what the machine before wrote.
    void attach(devices::Serial& serial) override {
        struct stat found = {};
        const int fd = descriptor_.native_handle();
        if (::fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && ::ftruncate(fd, 0) != 0) {
            throw SystemError("--serial file:" + path_ + ": emptying it");
        }
        StreamBackend::attach(serial);
    }

private:
    const std::string path_;
    Descriptor descriptor_;
};

}  // namespace

std::unique_ptr<SerialBackend> open_file(boost::asio::io_context& io, const std::string& path) {
    return std::make_unique<FileBackend>(io, path);
}

}  // namespace viaduct::console
