/// A machine that runs the probe guest over embedded disks, with QMP.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/guest/probe_run.hpp"
#include "tests/qmp_client.hpp"

namespace viaduct::test {

/// For what the guest says next.
inline constexpr Seconds long_enough{30};

/// Its disks are "disk0", "disk1", …, one for each element of `disks`: further properties of that
/// disk. The control thread of "disk0" is "vdpa-disk0".
class QmpMachine {
public:
    explicit QmpMachine(const std::string& scenario, const std::vector<std::string>& disks = {""},
                        Seconds deadline = Seconds(90))
        : process_(probe_command({.scenario = scenario, .options = options(disks)}), deadline),
          operator_(client()) {}

    [[nodiscard]] std::unique_ptr<tests::QmpClient> client() const {
        auto client = std::make_unique<tests::QmpClient>(socket());
        client->negotiate();
        return client;
    }
    [[nodiscard]] std::string socket() const { return directory_.path("qmp"); }
    [[nodiscard]] Process& process() { return process_; }
    [[nodiscard]] tests::QmpClient& qmp() { return *operator_; }

private:
    [[nodiscard]] std::vector<std::string> options(const std::vector<std::string>& disks) const {
        std::vector<std::string> options{"--qmp", "unix:" + socket(), "--cpus", "2"};
        for (const std::string& properties : disks) {
            std::string all = "id=disk" + std::to_string((options.size() - 4) / 2);
            if (!properties.empty()) all += "," + properties;
            options.emplace_back("--device");
            options.push_back(image_device(directory_, all));
        }
        return options;
    }

    TemporaryDirectory directory_;
    Process process_;
    std::unique_ptr<tests::QmpClient> operator_;
};

}  // namespace viaduct::test
