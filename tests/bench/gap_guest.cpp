#include "tests/bench/gap_guest.hpp"

#include <thread>

#include <fmt/core.h>

namespace viaduct::bench {
namespace {

constexpr auto patience = test::Seconds(60);
constexpr auto longest_run = test::Seconds(600);

}  // namespace

GapGuest::GapGuest(const std::string& device, const std::string& keys)
    : machine_({test::viaduct_program(), "run", "--kernel", test::probe_image(), "--append",
                fmt::format("scenario=deep-io check=off gaps=on tick=1000000000 {}", keys),
                "--memory", "128M", "--debug-exit", "--serial", "unix:" + directory_.path("serial"),
                "--qmp", "unix:" + directory_.path("qmp"), "--device", device},
               longest_run),
      serial_(directory_.path("serial"), machine_),
      qmp_(directory_.path("qmp")) {
    qmp_.negotiate();
    (void)ask();  // answered between requests
}

double GapGuest::longest_gap(const std::function<void()>& deed, std::chrono::milliseconds pause) {
    (void)ask();
    // A pause that meets the guest while it still answers would not be seen.
    std::this_thread::sleep_for(pause);
    deed();
    std::this_thread::sleep_for(pause);
    return ask();
}

double GapGuest::ask() {
    serial_.send_line("");
    (void)serial_.read_until("gap us=", patience);
    return std::stod(serial_.read_until("\n", patience));
}

}  // namespace viaduct::bench
