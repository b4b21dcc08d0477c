#include <ctime>
#include <memory>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include "base/interrupts.hpp"
#include "vmm/ctl/commands.hpp"
#include "vmm/ctl/errors.hpp"
#include "vmm/ctl/reply.hpp"
#include "vmm/ctl/screen.hpp"
#include "vmm/ctl/table.hpp"
#include "vmm/ctl/top_rows.hpp"
#include "vmm/ctl/units.hpp"

namespace viaduct::ctl {
namespace {

using Clock = QmpClient::Clock;
using std::chrono::milliseconds;

constexpr milliseconds shortest_interval{10};

struct Top {
    std::string interval = "1s";
    std::string count;

    // Parsed.
    milliseconds period{};
    std::uint64_t views = 0;  // 0: no end
};

Sample take_sample(Session& session) {
    const auto vdpa = session.ask("query-vdpa");
    const auto blocks = session.ask("query-blockstats");
    return sample_of(Clock::now(), vdpa, blocks);
}

/// Waits until then; false when a signal or the machine's end comes first.
bool wait_until(QmpClient& machine, Clock::time_point then) {
    while (true) {
        const auto received = machine.next_event(then);
        if (const auto* silence = std::get_if<Silence>(&received)) {
            return *silence == Silence::timed_out;
        }
    }
}

std::string time_of_day() {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    ::localtime_r(&now, &local);
    return fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
}

std::string view_of(Session& session, const std::string& name, const Top& top,
                    const std::vector<TopRow>& rows) {
    const auto status = session.ask("query-status");
    const std::string table = rows.empty() ? "no vDPA devices\n" : top_table(rows);
    return fmt::format("{}  {}  {}  every {}\n\n{}", printable(name),
                       printable(text(status, "status")), time_of_day(),
                       format_nanoseconds(static_cast<double>(top.period.count()) * 1e6), table);
}

void show_views(Session& session, const Top& top) {
    const Interrupts interrupts;
    session.machine().wake_on(interrupts.fd());
    const std::string name = text(session.ask("query-name"), "name");
    std::unique_ptr<Screen> screen;
    if (!session.as_json()) screen = std::make_unique<Screen>();
    Sample before = take_sample(session);
    for (std::uint64_t view = 0; top.views == 0 || view < top.views; ++view) {
        if (!wait_until(session.machine(), before.when + top.period)) return;
        Sample after = take_sample(session);
        const auto rows = rows_between(before, after);
        if (session.as_json()) {
            Session::print_json_line(top_json(rows));
        } else {
            screen->draw(view_of(session, name, top, rows));
        }
        before = std::move(after);
    }
}

void carry_out(Session& session, const Top& top) {
    QmpClient& machine = session.machine();
    try {
        show_views(session, top);
    } catch (const Interrupted&) {
        return;
    } catch (const ConnectionLost&) {
        if (!machine.is_shut_down()) throw;
    }
}

void parse(Top& top) {
    top.period = parse_duration("--interval", top.interval);
    if (top.period < shortest_interval) {
        throw UsageError("--interval: {} is too short: at least {} ms", top.interval,
                         shortest_interval.count());
    }
    if (!top.count.empty()) {
        top.views = parse_count("--count", top.count);
        if (top.views == 0) throw UsageError("--count: at least 1");
    }
}

}  // namespace

void add_top_command(CLI::App& app, Command& chosen) {
    auto top = std::make_shared<Top>();
    CLI::App& command = *app.add_subcommand("top", "a live view of every queue");
    command.footer(
        "Columns: requests and bytes a second, latency of reads and writes, time that requests\n"
        "waited for the throttle, notifications by the guest and interrupts to it. On the fast\n"
        "path nothing is counted: '-'. Into a file or a pipe, one table after the other; with\n"
        "--json each table is a line. Ends with Ctrl-C, after --count, or with the machine.");
    command.add_option("--interval", top->interval, "between two views (default 1s)")
        ->type_name("TIME");
    command.add_option("--count", top->count, "end after so many views")->type_name("N");
    command.callback([top, &chosen] {
        parse(*top);
        chosen = [top](Session& session) { carry_out(session, *top); };
    });
}

}  // namespace viaduct::ctl
