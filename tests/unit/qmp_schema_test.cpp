// What query-qmp-schema tells, in QEMU's form.
#include <algorithm>
#include <set>
#include <string>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "tests/unit/qmp_conversation.hpp"
#include "vmm/control/events.hpp"
#include "vmm/control/qmp_error.hpp"
#include "vmm/control/schema.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;

class Schema {
public:
    explicit Schema(const CommandTable& table) : entries_(schema_of(table)) {}

    /// The entry of that name as JSON; null when there is none.
    [[nodiscard]] json::value at(std::string_view name) const {
        const auto* const found = std::ranges::find_if(entries_, [&](const json::value& entry) {
            return entry.at("name").as_string() == name;
        });
        return found == entries_.end() ? json::value() : *found;
    }
    [[nodiscard]] const json::array& entries() const { return entries_; }

private:
    json::array entries_;
};

CommandTable& add(CommandTable& table, Command command) {
    table.add(std::move(command));
    return table;
}

TEST(QmpSchema, TellsACommandByTheObjectsItTakesAndReturns) {
    CommandTable table;
    const Schema schema(
        add(table,
            {.name = "set-limit",
             .doc = "",
             .parameters =
                 {{.name = "id", .type = ArgumentType::string, .doc = ""},
                  {.name = "bps", .type = ArgumentType::size, .doc = "", .need = Need::optional}},
             .returns = object_of({{.name = "on", .type = ArgumentType::boolean, .doc = ""}}),
             .run = nothing}));
    EXPECT_EQ(schema.at("set-limit"), json::parse(R"({"name":"set-limit","meta-type":"command",
                              "arg-type":"set-limit.arguments","ret-type":"set-limit.return"})"));
    EXPECT_EQ(schema.at("set-limit.arguments"),
              json::parse(R"({"name":"set-limit.arguments","meta-type":"object","members":[
                              {"name":"id","type":"str"},
                              {"name":"bps","type":"int","default":null}]})"));
    EXPECT_EQ(schema.at("set-limit.return").at("members"),
              json::parse(R"([{"name":"on","type":"bool"}])"));
    EXPECT_EQ(schema.at("str"),
              json::parse(R"({"name":"str","meta-type":"builtin","json-type":"string"})"));
    EXPECT_EQ(schema.at("int"),
              json::parse(R"({"name":"int","meta-type":"builtin","json-type":"int"})"));
    EXPECT_EQ(schema.at("bool"),
              json::parse(R"({"name":"bool","meta-type":"builtin","json-type":"boolean"})"));
}

TEST(QmpSchema, TellsACommandThatTakesAndReturnsNothingByTheEmptyObject) {
    CommandTable table;
    const Schema schema(add(table, {.name = "stop", .doc = "", .run = nothing}));
    EXPECT_EQ(schema.at("stop"), json::parse(R"({"name":"stop","meta-type":"command",
                                                 "arg-type":"empty","ret-type":"empty"})"));
    EXPECT_EQ(schema.at("empty"),
              json::parse(R"({"name":"empty","meta-type":"object","members":[]})"));
}

TEST(QmpSchema, TellsTheValuesOfAnEnumeration) {
    CommandTable table;
    const Schema schema(add(table, {.name = "query-stats",
                                    .doc = "",
                                    .parameters = {{.name = "target",
                                                    .type = ArgumentType::string,
                                                    .doc = "",
                                                    .values = {"vm", "vcpu"}}},
                                    .run = nothing}));
    EXPECT_EQ(schema.at("query-stats.arguments.target"),
              json::parse(R"({"name":"query-stats.arguments.target","meta-type":"enum",
                              "members":[{"name":"vm"},{"name":"vcpu"}],"values":["vm","vcpu"]})"));
}

TEST(QmpSchema, TellsArraysByTheirElements) {
    CommandTable table;
    const Schema schema(
        add(table, {.name = "query-devices",
                    .doc = "",
                    .returns = array_of({{.name = "queues",
                                          .type = ArgumentType::array,
                                          .doc = "",
                                          .element = ArgumentType::object,
                                          .members = {{.name = "sizes",
                                                       .type = ArgumentType::array,
                                                       .doc = "",
                                                       .element = ArgumentType::size}}}}),
                    .run = nothing}));
    EXPECT_EQ(schema.at("query-devices").at("ret-type"), "[query-devices.return]");
    EXPECT_EQ(schema.at("[query-devices.return]"),
              json::parse(R"({"name":"[query-devices.return]","meta-type":"array",
                              "element-type":"query-devices.return"})"));
    EXPECT_EQ(schema.at("query-devices.return").at("members").at(0).at("type"),
              "[query-devices.return.queues]");
    EXPECT_EQ(schema.at("query-devices.return.queues").at("members").at(0).at("type"), "[int]");
    EXPECT_EQ(schema.at("[int]").at("element-type"), "int");
}

TEST(QmpSchema, TellsEveryEvent) {
    const CommandTable table;
    const Schema schema(table);
    EXPECT_EQ(schema.at("STOP"),
              json::parse(R"({"name":"STOP","meta-type":"event","arg-type":"empty"})"));
    EXPECT_EQ(schema.at("SHUTDOWN").at("arg-type"), "SHUTDOWN.data");
    EXPECT_EQ(schema.at("SHUTDOWN.data").at("members").at(1).at("type"), "SHUTDOWN.data.reason");
    for (const auto* const name :
         {"RESET", "RESUME", "SHUTDOWN", "STOP", "VDPA_DATAPATH_CHANGED", "VDPA_DEVICE_BROKEN"}) {
        EXPECT_TRUE(schema.at(name).is_object()) << name;
    }
    EXPECT_TRUE(std::ranges::is_sorted(events(), {}, &Event::name));
}

TEST(QmpSchema, HasEachNameOnceAndNothingThatItRefersToIsMissing) {
    CommandTable table;
    add_sample_commands(table);
    const Schema schema(table);
    std::set<std::string> names;
    for (const auto& entry : schema.entries()) {
        const std::string name(entry.at("name").as_string());
        EXPECT_TRUE(names.insert(name).second) << name;
        std::vector<json::value> referred;
        for (const auto* const key : {"arg-type", "ret-type", "element-type"}) {
            if (const auto* type = entry.as_object().if_contains(key)) referred.push_back(*type);
        }
        if (entry.at("meta-type") == "object") {
            for (const auto& member : entry.at("members").as_array()) {
                referred.push_back(member.at("type"));
            }
        }
        for (const auto& type : referred) {
            EXPECT_TRUE(schema.at(type.as_string()).is_object())
                << name << " refers to " << type.as_string();
        }
    }
    EXPECT_THAT(names, testing::IsSupersetOf({"balloon", "query-qmp-schema", "empty"}));
}

}  // namespace
}  // namespace viaduct::control
