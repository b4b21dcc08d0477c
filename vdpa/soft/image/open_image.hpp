/// From what an operator calls an image to the Image:
///
///     nbd://HOST[:PORT]/EXPORT, nbds://…, nbd+unix:///EXPORT?socket=PATH, nbds+unix://…
///                          an export of an NBD server (github.com/NetworkBlockDevice/nbd,
///                          doc/uri.md)
///     rbd:POOL/IMAGE       a Ceph RBD image
///     anything else        the path of a raw file or a block device
///
/// What reaches images across a network stands on libraries that not every program carries: the
/// programs that do provide it here, first of all.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "vdpa/soft/image/file_image.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::soft {

inline constexpr std::chrono::seconds default_reconnect_delay{30};

struct ImageOptions {
    std::string name;  // as above
    bool read_only = false;
    DirectIo direct = DirectIo::automatic;  // files only
    unsigned lanes = 1;                     // that will be open at the same time
    /// Files only: FileImageOptions.
    std::chrono::milliseconds lock_patience = FileImageOptions{}.lock_patience;
    std::string owner{};
    /// Network images only: how long requests wait for a connection that was lost.
    std::chrono::seconds reconnect_delay = default_reconnect_delay;
};

/// Throws Error when the image cannot serve as a disk, or when this program cannot reach images of
/// its kind.
[[nodiscard]] std::unique_ptr<Image> open_image(const ImageOptions& options);

enum class NetworkImage { nbd, rbd };

/// Nothing when it is a path.
[[nodiscard]] std::optional<NetworkImage> network_image(std::string_view name) noexcept;

using OpenNetworkImage = std::unique_ptr<Image> (*)(const ImageOptions&);

/// Before there is a second thread.
void provide(NetworkImage kind, OpenNetworkImage open) noexcept;
[[nodiscard]] bool is_provided(NetworkImage kind) noexcept;

}  // namespace viaduct::soft
