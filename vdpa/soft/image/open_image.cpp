#include "vdpa/soft/image/open_image.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace viaduct::soft {
namespace {

struct Prefix {
    std::string_view text;
    NetworkImage kind;
};

constexpr std::array<Prefix, 7> prefixes{{
    {"nbd://", NetworkImage::nbd},
    {"nbds://", NetworkImage::nbd},
    {"nbd+unix://", NetworkImage::nbd},
    {"nbds+unix://", NetworkImage::nbd},
    {"nbd+vsock://", NetworkImage::nbd},
    {"nbds+vsock://", NetworkImage::nbd},
    {"rbd:", NetworkImage::rbd},
}};

/// What a build of this kind of image needs.
struct Ingredients {
    const char* what;
    const char* option;
    const char* package;
};

constexpr std::array<Ingredients, 2> ingredients{{
    {"NBD", "VIADUCT_NBD", "libnbd-dev"},
    {"Ceph RBD", "VIADUCT_RBD", "librbd-dev"},
}};

std::array<OpenNetworkImage, ingredients.size()> openers{};

std::size_t index_of(NetworkImage kind) noexcept {
    return static_cast<std::size_t>(kind);
}

}  // namespace

std::unique_ptr<Image> open_image(const ImageOptions& options) {
    const auto kind = network_image(options.name);
    if (!kind) {
        return std::make_unique<FileImage>(FileImageOptions{.path = options.name,
                                                            .read_only = options.read_only,
                                                            .direct = options.direct,
                                                            .lock_patience = options.lock_patience,
                                                            .owner = options.owner});
    }
    if (const OpenNetworkImage open = openers[index_of(*kind)]) return open(options);
    const auto& [what, option, package] = ingredients[index_of(*kind)];
    throw Error(
        "image '{}': this program was built without {}: build it with -D{}=ON, which needs the "
        "package {}",
        options.name, what, option, package);
}

std::optional<NetworkImage> network_image(std::string_view name) noexcept {
    const auto* const found =
        std::find_if(prefixes.begin(), prefixes.end(),
                     [&](const Prefix& prefix) { return name.starts_with(prefix.text); });
    if (found == prefixes.end()) return std::nullopt;
    return found->kind;
}

void provide(NetworkImage kind, OpenNetworkImage open) noexcept {
    openers[index_of(kind)] = open;
}

bool is_provided(NetworkImage kind) noexcept {
    return openers[index_of(kind)] != nullptr;
}

}  // namespace viaduct::soft
