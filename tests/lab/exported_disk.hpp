/// A disk exported by viaduct-export, as a process of the lab.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/vm_process.hpp"

namespace viaduct::test {

std::string export_program();

class ExportedDisk {
public:
    /// `options` beside --name and --image. Returns when the node can be used; throws Error with
    /// what the daemon said when there is none.
    ExportedDisk(std::string name, const std::string& image,
                 const std::vector<std::string>& options = {});

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// "/dev/vhost-vdpa-0" or "/dev/vda", as the daemon printed it or as it has been since
    /// bind_to_vhost.
    [[nodiscard]] const std::string& node() const noexcept { return node_; }
    /// `viaductctl devices bind NAME vhost`; throws Error with what it said if it fails.
    void bind_to_vhost();
    /// For viaduct's --device.
    [[nodiscard]] std::string option(const std::string& properties = "") const;

    /// fio's command that writes to a disk of this host at random, reads back and compares.
    [[nodiscard]] std::vector<std::string> verified_io(unsigned mebibytes) const;

    [[nodiscard]] bool lives() const { return process_->running(); }
    [[nodiscard]] pid_t pid() const { return process_->pid(); }
    [[nodiscard]] std::string log() const { return process_->err(); }
    void send_signal(int signal) const { process_->send_signal(signal); }
    /// SIGKILL. The device stays.
    void kill();
    /// Another daemon, by the same command.
    void start();
    /// `viaduct-export stop NAME`.
    [[nodiscard]] Outcome stop() const;
    /// Waits for the daemon's end.
    Outcome wait() { return process_->wait(); }

private:
    std::string name_;
    std::vector<std::string> command_;
    std::string node_;
    std::unique_ptr<Process> process_;
};

}  // namespace viaduct::test
