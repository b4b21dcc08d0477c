/// A Ceph cluster on the loopback interface, made by tests/ceph/cluster.
#pragma once

#include <signal.h>

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/support/temporary_directory.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {

/// One monitor and one OSD, gone with the object.
class CephCluster {
public:
    CephCluster() { tell("start"); }
    CephCluster(const CephCluster&) = delete;
    CephCluster& operator=(const CephCluster&) = delete;
    ~CephCluster() {
        try {
            signal_osd(SIGCONT);
            tell("stop");
        } catch (const Error& failure) {
            ADD_FAILURE() << failure.what();
        }
    }

    void restart_osd() const { tell("restart-osd"); }
    void signal_osd(int signal) const {
        std::ifstream file(directory_.path("osd.0.pid"));
        pid_t osd = 0;
        if (!(file >> osd) || ::kill(osd, signal) != 0) throw Error("there is no OSD to signal");
    }
    /// Ceph's `rbd`.
    std::string rbd(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), {"rbd", "--no-progress", "--conf", conf()});
        return said(arguments);
    }
    [[nodiscard]] std::string conf() const { return directory_.path("ceph.conf"); }
    [[nodiscard]] std::string image(const std::string& name) const {
        return "rbd:rbd/" + name + ":conf=" + conf();
    }

private:
    void tell(const std::string& what) const {
        said({VIADUCT_SOURCE_DIR "/tests/ceph/cluster", what, directory_.path("")});
    }
    static std::string said(const std::vector<std::string>& command) {
        const Outcome outcome = run(command, Seconds(120));
        if (outcome.status != 0) throw Error("{}: {}{}", command[0], outcome.out, outcome.err);
        return outcome.out;
    }

    TemporaryDirectory directory_;
};

}  // namespace viaduct::test
