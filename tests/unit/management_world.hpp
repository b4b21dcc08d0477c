/// A host of directories: sysfs as recorded from a real kernel, and what a test puts beside it.
#pragma once

#include <fstream>
#include <string>

#include "tests/support/recorded_tree.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/vhost_recording.hpp"
#include "vdpa/management/kernel_file.hpp"
#include "vdpa/management/roots.hpp"

namespace viaduct::management {

class HostDirectories {
public:
    HostDirectories() {
        test::unpack_tree(test::load_recording("management/sysfs_vdpa"), root_.path(""));
    }

    [[nodiscard]] Roots roots() const {
        return {.sys = root_.path("sys"),
                .dev = root_.path("dev"),
                .proc = root_.path("proc"),
                .etc = root_.path("etc"),
                .modules = root_.path("modules")};
    }

    /// More lines of a recorded tree.
    void put(const std::string& tree) const { test::unpack_tree(tree, root_.path("")); }
    [[nodiscard]] std::filesystem::path path(const std::string& name) const {
        return root_.path(name);
    }
    [[nodiscard]] std::string read(const std::string& file) const {
        return read_kernel_file(path(file)).value_or("(no file)");
    }

    /// A process that has `target` open: /dev/null's number is 1:3, wherever the tests run.
    void put_process(int pid, const std::string& comm, const std::string& target) const {
        const std::string directory = "proc/" + std::to_string(pid);
        put("f " + directory + "/comm " + comm + "\nl " + directory + "/fd/0 socket:[77]\nl " +
            directory + "/fd/5 " + target);
    }

private:
    test::TemporaryDirectory root_;
};

}  // namespace viaduct::management
