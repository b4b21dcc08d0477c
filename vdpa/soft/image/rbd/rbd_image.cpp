#include "vdpa/soft/image/rbd/rbd_image.hpp"

#include <algorithm>
#include <system_error>

#include "base/error.hpp"
#include "vdpa/soft/image/rbd/rbd_lane.hpp"

namespace viaduct::soft {
namespace {

constexpr std::string_view rbd_scheme = "rbd:";
constexpr std::uint32_t rbd_sector = 512;

/// What stands before the first `mark`; it and the mark are taken from `text`, or all of it.
std::string take_until(std::string_view& text, char mark) {
    const std::size_t end = std::min(text.find(mark), text.size());
    std::string part(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return part;
}

/// `result` is what a call returned: a negative errno is thrown as Error.
void require(int result, const std::string& image, const char* what, const char* remedy) {
    if (result >= 0) return;
    throw Error("image '{}': {} ({}): {}", image, what, std::generic_category().message(-result),
                remedy);
}

}  // namespace

RbdName::RbdName(std::string_view text) {
    const std::string whole(text);
    text.remove_prefix(rbd_scheme.size());
    std::string path = take_until(text, ':');
    while (!text.empty()) {
        const std::string option = take_until(text, ':');
        if (option.starts_with("id=")) {
            user = option.substr(3);
        } else if (option.starts_with("conf=")) {
            conf = option.substr(5);
        } else {
            throw Error("image '{}': '{}' is not known: there are id=USER and conf=FILE", whole,
                        option);
        }
    }
    const auto slashes = std::count(path.begin(), path.end(), '/');
    std::string_view left = path;
    pool = take_until(left, '/');
    if (slashes == 2) name_space = take_until(left, '/');
    image = left;
    if (slashes < 1 || slashes > 2 || pool.empty() || image.empty()) {
        throw Error(
            "image '{}' does not name an RBD image: write rbd:POOL/IMAGE or "
            "rbd:POOL/NAMESPACE/IMAGE",
            whole);
    }
}

RbdImage::RbdImage(const ImageOptions& options)
    : name_(options.name),
      geometry_{.physical_block = 4096, .read_only = options.read_only},
      failures_(name_, "in the cluster") {
    const RbdName name(name_);
    connect(name, options.reconnect_delay);
    open(name);
    measure();
}

void RbdImage::connect(const RbdName& name, std::chrono::seconds delay) {
    rados_t cluster = nullptr;
    require(rados_create(&cluster, name.user.empty() ? nullptr : name.user.c_str()), name_,
            "librados cannot be used", "is there memory?");
    cluster_.reset(cluster);
    require(rados_conf_read_file(cluster, name.conf.empty() ? nullptr : name.conf.c_str()), name_,
            "the cluster's configuration cannot be read",
            "is it /etc/ceph/ceph.conf? Otherwise add :conf=FILE");
    require(rados_conf_parse_env(cluster, nullptr), name_, "$CEPH_ARGS makes no sense",
            "correct or unset it");
    // 0 would be for ever.
    const std::string limit = std::to_string(std::max<std::int64_t>(delay.count(), 1));
    for (const char* const option :
         {"rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"}) {
        (void)rados_conf_set(cluster, option, limit.c_str());
    }
    // What a guest was answered for would go with this process; its caches are the cluster's then.
    (void)rados_conf_set(cluster, "rbd_cache", "false");
    require(rados_connect(cluster), name_, "the cluster cannot be reached",
            "do its monitors run, and is the user's key in its keyring? `ceph -s` tells more");
}

void RbdImage::open(const RbdName& name) {
    rados_ioctx_t pool = nullptr;
    require(rados_ioctx_create(cluster_.get(), name.pool.c_str(), &pool), name_,
            "the pool cannot be used", "`ceph osd lspools` lists those that there are");
    pool_.reset(pool);
    if (!name.name_space.empty()) rados_ioctx_set_namespace(pool, name.name_space.c_str());
    rbd_image_t image = nullptr;
    const auto open_it = geometry_.read_only ? rbd_open_read_only : rbd_open;
    require(open_it(pool, name.image.c_str(), &image, nullptr), name_, "it cannot be opened",
            "`rbd ls POOL` lists the images that there are, `rbd create` makes one; without the "
            "permission to write, use readonly=on");
    image_.reset(image);
}

std::uint64_t RbdImage::size_now() const {
    rbd_image_info_t info{};
    require(rbd_stat(image_.get(), &info, sizeof info), name_, "its size is not to be had",
            "`rbd info` may tell more");
    return info.size;
}

void RbdImage::measure() {
    const std::uint64_t size = size_now();
    if (size == 0 || size % rbd_sector != 0) {
        throw Error("image '{}' has {} bytes: a disk needs a multiple of {}, and more than none",
                    name_, size, rbd_sector);
    }
    geometry_.size = size;
}

std::uint64_t RbdImage::measure_again() {
    const std::uint64_t size = size_now() / rbd_sector * rbd_sector;
    geometry_.size = std::max(geometry_.size, size);
    return size;
}

std::unique_ptr<Lane> RbdImage::open_lane(IoUring& ring) {
    return std::make_unique<RbdLane>(ring, *this);
}

void provide_rbd() noexcept {
    provide(NetworkImage::rbd, [](const ImageOptions& options) -> std::unique_ptr<Image> {
        return std::make_unique<RbdImage>(options);
    });
}

}  // namespace viaduct::soft
