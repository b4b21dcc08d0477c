// The QMP reference: made from the tables, and as README.md has it.
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>

#include "tests/unit/qmp_conversation.hpp"
#include "vmm/control/commands/commands.hpp"
#include "vmm/control/events.hpp"
#include "vmm/control/reference.hpp"

namespace viaduct::control {
namespace {

using testing::HasSubstr;

/// What stands between the two markers, each on a line of its own.
std::string section_of_readme() {
    constexpr std::string_view begin = "\n<!-- qmp reference -->\n";
    constexpr std::string_view end = "<!-- end of qmp reference -->\n";
    std::ostringstream readme;
    readme << std::ifstream(VIADUCT_SOURCE_DIR "/README.md").rdbuf();
    const std::string text = readme.str();
    const auto first = text.find(begin);
    const auto last = text.find(end);
    if (first == std::string::npos || last == std::string::npos) return "the markers are missing";
    return text.substr(first + begin.size(), last - first - begin.size());
}

TEST(QmpReference, InTheReadmeIsTheOneThatIsGenerated) {
    EXPECT_EQ(section_of_readme(), qmp_reference())
        << "write it anew: README.md, \"How to read the code\", tells the command";
}

TEST(QmpReference, NamesEveryCommandOfTheProgramAndEveryEvent) {
    const std::string reference = qmp_reference();
    for (const auto* const command : {"qmp_capabilities",
                                      "query-version",
                                      "query-commands",
                                      "query-qmp-schema",
                                      "query-name",
                                      "query-status",
                                      "query-cpus-fast",
                                      "query-stats",
                                      "query-vdpa",
                                      "stop",
                                      "cont",
                                      "system_reset",
                                      "system_powerdown",
                                      "quit",
                                      "device_add",
                                      "device_del",
                                      "vdpa-set-datapath",
                                      "block_set_io_throttle",
                                      "query-block",
                                      "query-blockstats"}) {
        EXPECT_THAT(reference, HasSubstr(fmt::format("\n#### `{}`\n", command)));
    }
    for (const Event& event : events()) {
        EXPECT_THAT(reference,
                    HasSubstr(fmt::format("\n#### `{}`\n\n{}\n", event.name, event.doc)));
    }
}

TEST(QmpReference, TellsWhatACommandTakesAndReturns) {
    CommandTable table;
    table.add(
        {.name = "set-limit",
         .doc = "Sets a limit.",
         .parameters = {{.name = "id", .type = ArgumentType::string, .doc = "the device"},
                        {.name = "bps",
                         .type = ArgumentType::size,
                         .doc = "bytes per second",
                         .need = Need::optional},
                        {.name = "mode",
                         .type = ArgumentType::string,
                         .doc = "",
                         .need = Need::exactly_one,
                         .values = {"soft", "hard"}}},
         .other_arguments = Others::accepted,
         .returns = array_of(
             {{.name = "queues",
               .type = ArgumentType::array,
               .doc = "each queue",
               .element = ArgumentType::object,
               .members = {{.name = "index", .type = ArgumentType::integer, .doc = "from 0"}}}}),
         .run = nothing});
    EXPECT_THAT(reference_of(table), HasSubstr(R"(
#### `set-limit`

Sets a limit.

Arguments:

- `id` (string): the device
- `bps` (integer from 0, optional): bytes per second
- `mode` (`"soft"` or `"hard"`, exactly one of these)
- any others

Returns an array of objects:

- `queues` (array of object): each queue
  - `index` (integer): from 0
)"));
}

}  // namespace
}  // namespace viaduct::control
