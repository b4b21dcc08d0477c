#include <fcntl.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/fd.hpp"
#include "vmm/console/backends.hpp"
#include "vmm/console/stream_backend.hpp"

namespace viaduct::console {
namespace {

using Descriptor = boost::asio::posix::stream_descriptor;

Descriptor open_master(boost::asio::io_context& io) {
    const int fd = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) throw SystemError("--serial pty: making a pseudoterminal (is /dev/pts mounted?)");
    Descriptor master(io, fd);
    if (::grantpt(fd) != 0 || ::unlockpt(fd) != 0) {
        throw SystemError("--serial pty: making a pseudoterminal usable");
    }
    return master;
}

std::string name_of(Descriptor& master) {
    std::array<char, 64> name{};
    if (::ptsname_r(master.native_handle(), name.data(), name.size()) != 0) {
        throw SystemError("--serial pty: name of the pseudoterminal");
    }
    return name.data();
}

/// Raw from the start, so that a client that only opens it changes nothing on the way.
void make_raw(const std::string& name) {
    const Fd slave(::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    termios modes = {};
    if (!slave || ::tcgetattr(slave.get(), &modes) != 0) {
        throw SystemError("--serial pty: " + name);
    }
    ::cfmakeraw(&modes);
    ::tcsetattr(slave.get(), TCSANOW, &modes);
}

Descriptor watch_opening(boost::asio::io_context& io, const std::string& name) {
    Descriptor watch(io);
    const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (fd >= 0) watch.assign(fd);
    if (fd < 0 || ::inotify_add_watch(fd, name.c_str(), IN_OPEN) < 0) {
        throw SystemError("--serial pty: watching " + name +
                          " (raise fs.inotify.max_user_instances or max_user_watches?)");
    }
    return watch;
}

/// The master cannot tell when somebody opens the other side (only that nobody has it: reading
/// fails with EIO), so inotify(7) does.
class PtyBackend final : public StreamBackend {
public:
    PtyBackend(boost::asio::io_context& io, Descriptor master, const std::string& name)
        : StreamBackend(io, name, Output::Reader::comes_and_goes),
          name_(name),
          master_(std::move(master)),
          opened_(watch_opening(io, name)) {
        wait_for_client();
    }
    PtyBackend(const PtyBackend&) = delete;
    PtyBackend& operator=(const PtyBackend&) = delete;
    ~PtyBackend() override { finish(); }

    /// Only now is it named: of a start that is refused nothing is left to connect to.
    void attach(devices::Serial& serial) override {
        fmt::print(stderr, "serial: {}\n", name_);
        StreamBackend::attach(serial);
    }

private:
    void wait_for_client() {
        opened_.async_wait(Descriptor::wait_read,
                           lifeline_.bind([this](const boost::system::error_code& error) {
                               if (error) return;
                               std::array<std::byte, 4096> events{};
                               (void)!::read(opened_.native_handle(), events.data(), events.size());
                               connect();
                               wait_for_client();
                           }));
    }

    void connect() {
        output_.connect(master_);
        if (connected_) return;  // opened once more; it is gone when the last one closes it
        connected_ = true;
        input_.connect(master_, [this](int /*error*/) {
            connected_ = false;
            output_.disconnect();
        });
    }

    const std::string name_;
    Descriptor master_;
    Descriptor opened_;
    bool connected_ = false;
};

}  // namespace

std::unique_ptr<SerialBackend> open_pty(boost::asio::io_context& io) {
    Descriptor master = open_master(io);
    const std::string name = name_of(master);
    make_raw(name);
    return std::make_unique<PtyBackend>(io, std::move(master), name);
}

}  // namespace viaduct::console
