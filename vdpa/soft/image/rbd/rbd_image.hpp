/// A Ceph RBD image as a disk, by librbd:
///
///     rbd:POOL/[NAMESPACE/]IMAGE[:id=USER][:conf=FILE]
///
/// The cluster is found as Ceph's own programs find it: /etc/ceph/ceph.conf or $CEPH_CONF, the user
/// client.admin, $CEPH_ARGS. librbd keeps the connections; all lanes share one open image, so that
/// a flush on any covers them all. What it has sent and gets no answer for, it fails after the
/// image's reconnect-delay (rados_osd_op_timeout).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include <rados/librados.h>
#include <rbd/librbd.h>

#include "vdpa/soft/image/failure_log.hpp"
#include "vdpa/soft/image/image.hpp"
#include "vdpa/soft/image/open_image.hpp"

namespace viaduct::soft {

/// What an RBD image's name consists of.
struct RbdName {
    std::string pool;
    std::string name_space;  // empty: the pool's own
    std::string image;
    std::string user;  // empty: Ceph's default
    std::string conf;  // path; empty: Ceph's default

    /// Throws Error.
    explicit RbdName(std::string_view text);
};

class RbdImage final : public Image {
public:
    /// Connects and opens. Throws Error when the cluster cannot be reached or the image not used.
    explicit RbdImage(const ImageOptions& options);

    [[nodiscard]] const std::string& name() const noexcept override { return name_; }
    [[nodiscard]] const Geometry& geometry() const noexcept override { return geometry_; }
    std::uint64_t measure_again() override;
    [[nodiscard]] std::unique_ptr<Lane> open_lane(IoUring& ring) override;

    // For lanes.
    [[nodiscard]] rbd_image_t handle() const noexcept { return image_.get(); }
    [[nodiscard]] FailureLog& failures() noexcept { return failures_; }

private:
    struct ShutDown {
        void operator()(void* cluster) const noexcept { rados_shutdown(cluster); }
    };
    struct Destroy {
        void operator()(void* pool) const noexcept { rados_ioctx_destroy(pool); }
    };
    struct Close {
        void operator()(void* image) const noexcept { rbd_close(image); }
    };
    // The C interface's handles are pointers to void.
    using Cluster = std::unique_ptr<void, ShutDown>;
    using Pool = std::unique_ptr<void, Destroy>;
    using Opened = std::unique_ptr<void, Close>;

    void connect(const RbdName& name, std::chrono::seconds delay);
    void open(const RbdName& name);
    [[nodiscard]] std::uint64_t size_now() const;
    void measure();

    std::string name_;
    Geometry geometry_;
    FailureLog failures_;
    Cluster cluster_;
    Pool pool_;
    Opened image_;
};

/// Lets open_image() open RBD images.
void provide_rbd() noexcept;

}  // namespace viaduct::soft
