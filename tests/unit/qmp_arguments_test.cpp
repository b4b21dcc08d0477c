// What a command's parameters demand of its arguments, beyond QEMU's rules that the session's tests
// have.
#include <cstdint>
#include <string>

#include <boost/json/parse.hpp>
#include <gmock/gmock.h>

#include "tests/unit/qmp_conversation.hpp"
#include "vmm/control/arguments.hpp"
#include "vmm/control/qmp_error.hpp"

namespace viaduct::control {
namespace {

namespace json = boost::json;
using testing::ElementsAre;

Arguments given(const std::vector<Parameter>& parameters, const char* text,
                Others others = Others::refused) {
    return {parameters, json::parse(text).as_object(), others};
}

std::string refusal(const std::vector<Parameter>& parameters, const char* text) {
    try {
        (void)given(parameters, text);
    } catch (const QmpError& error) {
        EXPECT_EQ(error.error_class(), ErrorClass::generic_error);
        return error.what();
    }
    return "no refusal";
}

const std::vector<Parameter> limit{{.name = "bps", .type = ArgumentType::size, .doc = ""}};

TEST(QmpArguments, OfTypeSizeReachFromZeroTo64Bits) {
    EXPECT_EQ(given(limit, R"({"bps":0})").get<std::uint64_t>("bps"), 0U);
    EXPECT_EQ(given(limit, R"({"bps":1048576})").get<std::int64_t>("bps"), 1048576);
    EXPECT_EQ(given(limit, R"({"bps":18446744073709551615})").get<std::uint64_t>("bps"),
              UINT64_MAX);
    EXPECT_EQ(refusal(limit, R"({"bps":-1})"),
              "Parameter 'bps' does not accept value -1: it must be 0 or more");
    EXPECT_EQ(refusal(limit, R"({"bps":1.5})"),
              "Invalid parameter type for 'bps', expected: integer");
    EXPECT_EQ(refusal(limit, R"({"bps":18446744073709551616})"),
              "Invalid parameter type for 'bps', expected: integer");
    EXPECT_EQ(refusal(limit, "{}"), "Parameter 'bps' is missing");
}

const std::vector<Parameter> device_or_id{
    {.name = "device", .type = ArgumentType::string, .doc = "", .need = Need::exactly_one},
    {.name = "id", .type = ArgumentType::string, .doc = "", .need = Need::exactly_one},
    {.name = "group", .type = ArgumentType::string, .doc = "", .need = Need::optional}};

TEST(QmpArguments, OfWhichExactlyOneIsNeededAreReadByWhicheverWasGiven) {
    for (const char* text : {R"({"device":"disk0"})", R"({"id":"disk0","group":"g"})"}) {
        EXPECT_EQ(given(device_or_id, text).get_one_of<std::string>({"device", "id"}), "disk0");
    }
}

TEST(QmpArguments, OfWhichExactlyOneIsNeededAreNeitherMissingNorTwo) {
    constexpr auto words = "Need exactly one of 'device' and 'id'";
    EXPECT_EQ(refusal(device_or_id, "{}"), words);
    EXPECT_EQ(refusal(device_or_id, R"({"group":"g"})"), words);
    EXPECT_EQ(refusal(device_or_id, R"({"device":"a","id":"a"})"), words);
}

TEST(QmpArguments, ThatAreNotNamedAreAcceptedWhereACommandSaysSo) {
    EXPECT_EQ(refusal(limit, R"({"bps":1,"bus":"pci.0"})"), "Parameter 'bus' is unexpected");
    EXPECT_NO_THROW((void)given(limit, R"({"bps":1,"bus":"pci.0"})", Others::accepted));

    Conversation conversation;
    conversation.table().add({.name = "device_add",
                              .doc = "",
                              .parameters = limit,
                              .other_arguments = Others::accepted,
                              .run = nothing});
    EXPECT_THAT(conversation.negotiate().say(
                    R"({"execute":"device_add","arguments":{"bps":1,"bus":"pci.0"}})"),
                ElementsAre(R"({"return": {}})"));
}

}  // namespace
}  // namespace viaduct::control
