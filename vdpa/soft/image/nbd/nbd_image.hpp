/// An export of an NBD server as a disk (the NBD protocol, github.com/NetworkBlockDevice/nbd,
/// doc/proto.md), by libnbd. By way of qemu-nbd, qemu-storage-daemon and nbdkit that is also qcow2,
/// vmdk, S3 and much else.
///
/// Each lane has a connection of its own. All are made when the image is opened: a server that
/// serves fewer is found out then. A lane that ends with nothing in flight gives its connection
/// back for the next one, so that a reset or a switch of the data path costs no handshake (and
/// qemu-nbd, which by default ends with its last client, does not end).
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "base/log_allowance.hpp"
#include "vdpa/soft/image/failure_log.hpp"
#include "vdpa/soft/image/image.hpp"
#include "vdpa/soft/image/nbd/nbd_server.hpp"
#include "vdpa/soft/image/open_image.hpp"

namespace viaduct::soft {

/// What the operator is told about a server, once for all lanes.
class NbdReport {
public:
    NbdReport(std::string name, std::chrono::seconds delay);

    // Each lane tells when its own connection is lost, is there again, is not there in time.
    void lost(const std::string& reason) noexcept;
    void back() noexcept;
    void given_up(const std::string& reason) noexcept;
    /// A lane ends without a connection.
    void forget_lost() noexcept { lost_.fetch_sub(1, std::memory_order_relaxed); }

    /// A server that is there, and is not what it was.
    void changed(const std::string& what) noexcept;

private:
    const std::string name_;
    const std::chrono::seconds delay_;
    LogAllowance connection_;
    std::atomic<unsigned> lost_ = 0;  // lanes without a connection
    std::atomic<bool> gave_up_ = false;
};

class NbdImage final : public Image {
public:
    /// Connects. Throws Error when the server cannot be reached or its export cannot serve.
    explicit NbdImage(const ImageOptions& options);

    [[nodiscard]] const std::string& name() const noexcept override { return uri_; }
    [[nodiscard]] const Geometry& geometry() const noexcept override { return geometry_; }
    /// Throws Error: a server tells an export's size when it is connected to, and no more.
    std::uint64_t measure_again() override;
    [[nodiscard]] std::unique_ptr<Lane> open_lane(IoUring& ring) override;

    // For lanes.
    [[nodiscard]] std::chrono::seconds reconnect_delay() const noexcept { return delay_; }
    [[nodiscard]] NbdReport& report() noexcept { return report_; }
    [[nodiscard]] FailureLog& failures() noexcept { return failures_; }
    /// Why a server with these terms is not the one whose geometry the guest was told; empty when
    /// it is.
    [[nodiscard]] std::string difference(const NbdTerms& terms) const;

    // For lanes, on the control thread: connections that nobody uses.
    [[nodiscard]] NbdHandle take_spare() noexcept;
    void give_back(NbdHandle handle);

private:
    void check(const NbdTerms& terms, unsigned lanes) const;
    void describe(const NbdTerms& terms);

    std::string uri_;
    std::chrono::seconds delay_;
    NbdReport report_;
    FailureLog failures_;
    Geometry geometry_;
    std::vector<NbdHandle> spare_;
};

/// Lets open_image() open NBD exports.
void provide_nbd() noexcept;

}  // namespace viaduct::soft
