#include "tests/support/recorded_tree.hpp"

#include <fstream>
#include <set>
#include <sstream>

#include "base/error.hpp"

namespace viaduct::test {

namespace fs = std::filesystem;

namespace {

/// "/sys/x" as the record has it: "sys/x".
std::string relative_name(const fs::path& path) {
    return path.string().substr(1);
}

std::string text_in(const fs::path& file) {
    std::ifstream in(file);
    std::string text;
    std::getline(in, text);
    return text;
}

bool tells_something(const std::string& name) {
    static const std::set<std::string> files{"dev", "driver_override", "device", "size"};
    return files.contains(name);
}

bool leads_to_nodes(const std::string& name) {
    for (const char* prefix : {"vhost-vdpa-", "virtio", "block", "net", "vd", "eth"}) {
        if (name.starts_with(prefix)) return true;
    }
    return false;
}

std::string record_device(const fs::path& directory) {
    std::set<std::string> lines;
    for (const auto& entry : fs::directory_iterator(directory)) {
        const std::string name = entry.path().filename();
        const std::string place = relative_name(entry.path());
        if (entry.is_symlink()) {
            if (name == "driver") {
                lines.insert("l " + place + " " + fs::read_symlink(entry).string() + "\n");
            }
        } else if (entry.is_directory()) {
            if (leads_to_nodes(name)) {
                lines.insert("d " + place + "\n" + record_device(entry.path()));
            }
        } else if (tells_something(name)) {
            lines.insert("f " + place + " " + text_in(entry.path()) + "\n");
        }
    }
    std::string text;
    for (const std::string& line : lines) text += line;
    return text;
}

}  // namespace

std::string record_vdpa_sysfs() {
    const fs::path bus = "/sys/bus/vdpa";
    std::string record;
    std::set<fs::path> drivers;
    std::set<fs::path> devices;
    for (const auto& entry : fs::directory_iterator(bus / "drivers")) drivers.insert(entry.path());
    for (const auto& entry : fs::directory_iterator(bus / "devices")) devices.insert(entry.path());
    for (const fs::path& driver : drivers) {
        record += "f " + relative_name(driver / "bind") + "\n";
        record += "f " + relative_name(driver / "unbind") + "\n";
    }
    for (const fs::path& device : devices) {
        record += "l " + relative_name(device) + " " + fs::read_symlink(device).string() + "\n";
        record += record_device(fs::canonical(device));
    }
    return record;
}

void unpack_tree(const std::string& record, const fs::path& root) {
    std::istringstream lines(record);
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line.starts_with('#')) continue;
        std::istringstream in(line);
        std::string kind;
        std::string path;
        std::string rest;
        in >> kind >> path >> std::ws;
        std::getline(in, rest);
        fs::create_directories((root / path).parent_path());
        if (kind == "d") {
            fs::create_directories(root / path);
        } else if (kind == "f") {
            std::ofstream(root / path) << rest << (rest.empty() ? "" : "\n");
        } else if (kind == "l") {
            fs::create_symlink(rest, root / path);
        } else {
            throw Error("'{}' is no line of a recorded tree", line);
        }
    }
}

}  // namespace viaduct::test
