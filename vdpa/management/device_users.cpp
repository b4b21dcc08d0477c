#include "vdpa/management/device_users.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <set>
#include <sstream>

#include <fmt/core.h>

#include "vdpa/management/kernel_file.hpp"

namespace viaduct::management {
namespace {

namespace fs = std::filesystem;

std::optional<NodeNumber> node_number_of(const fs::path& file) {
    struct stat status {};
    if (::stat(file.c_str(), &status) != 0) return std::nullopt;
    if (!S_ISCHR(status.st_mode) && !S_ISBLK(status.st_mode)) return std::nullopt;
    return NodeNumber{
        .kind = S_ISCHR(status.st_mode) ? NodeNumber::Kind::character : NodeNumber::Kind::block,
        .major = ::major(status.st_rdev),
        .minor = ::minor(status.st_rdev)};
}

class UserSearch {
public:
    UserSearch(const Roots& roots, const std::vector<NodeNumber>& nodes)
        : roots_(roots), nodes_(nodes.begin(), nodes.end()) {}

    DeviceUsers find() {
        look_at_own_mounts();
        for (const std::string& name : names_in(roots_.proc)) {
            pid_t pid = 0;
            const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), pid);
            if (failed != std::errc() || end != name.data() + name.size()) continue;
            look_at_process(pid);
            look_at_mounts_of(pid);
        }
        look_at_swap();
        look_at_holders();
        std::ranges::sort(found_.users);
        return std::move(found_);
    }

private:
    void add(pid_t pid, std::string command) {
        found_.users.push_back({.pid = pid, .command = std::move(command)});
    }

    void look_at_process(pid_t pid) {
        const fs::path directory = roots_.proc / std::to_string(pid);
        std::error_code failed;
        for (fs::directory_iterator entry(directory / "fd", failed), end; !failed && entry != end;
             entry.increment(failed)) {
            std::error_code gone;
            const std::string target = fs::read_symlink(entry->path(), gone);
            // "socket:[7]" and the like are no files; a stat of each would take its time.
            if (gone || !target.starts_with('/')) continue;
            const auto number = node_number_of(entry->path());
            if (!number || !nodes_.contains(*number)) continue;
            return add(pid, read_kernel_file(directory / "comm").value_or("?"));
        }
        if (failed == std::errc::permission_denied) found_.complete = false;
    }

    void look_at_own_mounts() {
        const fs::path self = roots_.proc / "self";
        mount_namespaces_.insert(name_behind_link(self / "ns/mnt").value_or(""));
        for (const auto& where : mount_points(read_kernel_file(self / "mountinfo").value_or(""))) {
            mounted_on_.insert(where);
            add(0, "mounted on " + where);
        }
    }

    /// A container's mounts are in a namespace of their own, seen through its processes only.
    void look_at_mounts_of(pid_t pid) {
        const fs::path directory = roots_.proc / std::to_string(pid);
        const auto name_space = name_behind_link(directory / "ns/mnt");
        if (!name_space || mount_namespaces_.contains(*name_space)) return;
        const std::string mounts = read_kernel_file(directory / "mountinfo").value_or("");
        if (mounts.empty()) return;  // it has ended: another one may tell
        mount_namespaces_.insert(*name_space);
        for (const std::string& where : mount_points(mounts)) {
            // Most namespaces have what the first one has, too.
            if (!mounted_on_.insert(where).second) continue;
            add(0, fmt::format("mounted on {} for {} (pid {})", where,
                               read_kernel_file(directory / "comm").value_or("?"), pid));
        }
    }

    /// proc_pid_mountinfo(5): ID PARENT MAJOR:MINOR ROOT MOUNT-POINT …
    [[nodiscard]] std::vector<std::string> mount_points(const std::string& mountinfo) const {
        std::vector<std::string> points;
        std::istringstream mounts(mountinfo);
        for (std::string line; std::getline(mounts, line);) {
            std::istringstream fields(line);
            std::string id;
            std::string parent;
            std::string root;
            std::string where;
            NodeNumber number{.kind = NodeNumber::Kind::block};
            char colon = 0;
            fields >> id >> parent >> number.major >> colon >> number.minor >> root >> where;
            if (nodes_.contains(number)) points.push_back(where);
        }
        return points;
    }

    /// proc_swaps(5): a line of titles, then a path first on each.
    void look_at_swap() {
        std::istringstream swaps(read_kernel_file(roots_.proc / "swaps").value_or(""));
        std::string path;
        std::getline(swaps, path);
        for (std::string rest; swaps >> path && std::getline(swaps, rest);) {
            const auto number = node_number_of(path);
            if (number && nodes_.contains(*number)) add(0, "swapping to " + path);
        }
    }

    void look_at_holders() {
        for (const NodeNumber& node : nodes_) {
            if (node.kind != NodeNumber::Kind::block) continue;
            const fs::path directory =
                roots_.sys / fmt::format("dev/block/{}:{}/holders", node.major, node.minor);
            for (const std::string& holder : names_in(directory)) add(0, holder);
        }
    }

    const Roots& roots_;
    std::set<NodeNumber> nodes_;
    std::set<std::string> mount_namespaces_;  // that were looked at
    std::set<std::string> mounted_on_;
    DeviceUsers found_;
};

}  // namespace

DeviceUsers users_of(const Roots& roots, const std::vector<NodeNumber>& nodes) {
    if (nodes.empty()) return {};
    return UserSearch(roots, nodes).find();
}

std::string text_of(const std::vector<DeviceUser>& users) {
    std::string text;
    for (const DeviceUser& user : users) {
        if (!text.empty()) text += ", ";
        text += user.pid == 0 ? user.command : fmt::format("{} (pid {})", user.command, user.pid);
    }
    return text;
}

}  // namespace viaduct::management
