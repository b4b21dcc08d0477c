#include "vdpa/management/kernel_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "base/fd.hpp"

namespace viaduct::management {

namespace fs = std::filesystem;

std::optional<std::string> read_kernel_file(const fs::path& file) {
    std::ifstream in(file);
    if (!in) return std::nullopt;
    std::string text{std::istreambuf_iterator<char>(in), {}};
    if (in.bad()) return std::nullopt;
    while (text.ends_with('\n')) text.pop_back();
    return text;
}

int write_kernel_file(const fs::path& file, std::string_view text) {
    const Fd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return errno;
    return ::write(fd.get(), text.data(), text.size()) < 0 ? errno : 0;
}

std::optional<std::string> name_behind_link(const fs::path& link) {
    std::error_code failed;
    const fs::path target = fs::read_symlink(link, failed);
    if (failed) return std::nullopt;
    return target.filename();
}

std::vector<std::string> names_in(const fs::path& directory, std::string_view prefix) {
    std::vector<std::string> names;
    std::error_code failed;
    for (fs::directory_iterator entry(directory, failed), end; !failed && entry != end;
         entry.increment(failed)) {
        std::string name = entry->path().filename();
        if (name.starts_with(prefix)) names.push_back(std::move(name));
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace viaduct::management
