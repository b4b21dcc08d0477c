#include "tests/lab/exported_disk.hpp"

#include <csignal>

#include "base/error.hpp"

namespace viaduct::test {

std::string export_program() {
    return VIADUCT_EXPORT;
}

ExportedDisk::ExportedDisk(std::string name, const std::string& image,
                           const std::vector<std::string>& options)
    : name_(std::move(name)), command_{export_program(), "run", "--name", name_, "--image", image} {
    command_.insert(command_.end(), options.begin(), options.end());
    start();
}

std::string ExportedDisk::option(const std::string& properties) const {
    return "vdpa,path=" + node_ + ",id=" + name_ + (properties.empty() ? "" : "," + properties);
}

std::vector<std::string> ExportedDisk::verified_io(unsigned mebibytes) const {
    return {"fio",
            "--direct=1",
            "--ioengine=libaio",
            "--iodepth=16",
            "--rw=randrw",
            "--bsrange=512-64k",
            "--size=" + std::to_string(mebibytes) + "M",
            "--verify=crc32c",
            "--verify_fatal=1",
            "--minimal",
            "--name=a",
            "--filename=" + node_};
}

void ExportedDisk::start() {
    process_ = std::make_unique<Process>(command_, Seconds(3600));
    if (!process_->wait_for_output("\n", Seconds(60))) {
        throw Error("{} is not exported: {}", name_, process_->err());
    }
    const std::string out = process_->out();
    node_ = out.substr(0, out.find('\n'));
}

void ExportedDisk::bind_to_vhost() {
    const Outcome bound = run({VIADUCT_CTL, "devices", "bind", name_, "vhost"});
    if (bound.status != 0) throw Error("{} is not bound to vhost: {}", name_, bound.err);
    node_ = bound.out.substr(bound.out.find("/dev/"));
    node_.resize(node_.find('\n'));
}

void ExportedDisk::kill() {
    process_->send_signal(SIGKILL);
    process_->wait();
}

Outcome ExportedDisk::stop() const {
    return run({export_program(), "stop", name_}, Seconds(90));
}

}  // namespace viaduct::test
