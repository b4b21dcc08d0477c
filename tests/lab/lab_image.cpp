#include "tests/lab/lab_image.hpp"

#include "base/error.hpp"

namespace viaduct::test {

std::string make_image(const TemporaryDirectory& directory, const std::string& format,
                       unsigned mebibytes) {
    std::string path = directory.path("disk." + format);
    const Outcome made =
        run({"qemu-img", "create", "-q", "-f", format, path, std::to_string(mebibytes) + "M"});
    if (made.status != 0) throw Error("qemu-img: {}{}", made.out, made.err);
    return path;
}

}  // namespace viaduct::test
