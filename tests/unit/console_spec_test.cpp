#include <gmock/gmock.h>

#include "base/error.hpp"
#include "vmm/console/spec.hpp"

namespace viaduct::console {
namespace {

using Kind = SerialSpec::Kind;
using testing::HasSubstr;

std::string refusal_of(std::string_view text) {
    try {
        (void)parse_serial(text);
    } catch (const Error& error) {
        return error.what();
    }
    return "nothing was wrong";
}

TEST(SerialSpec, KnowsEachForm) {
    EXPECT_EQ(parse_serial("none"), (SerialSpec{Kind::none, ""}));
    EXPECT_EQ(parse_serial("stdio"), (SerialSpec{Kind::stdio, ""}));
    EXPECT_EQ(parse_serial("pty"), (SerialSpec{Kind::pty, ""}));
    EXPECT_EQ(parse_serial("file:/tmp/a:b,c"), (SerialSpec{Kind::file, "/tmp/a:b,c"}));
    EXPECT_EQ(parse_serial("unix:/run/vm.sock"), (SerialSpec{Kind::unix_socket, "/run/vm.sock"}));
    EXPECT_EQ(parse_serial("socket:vm.sock"), (SerialSpec{Kind::unix_socket, "vm.sock"}));
}

TEST(SerialSpec, TakesQemusWordsForWhatASocketDoesAnyway) {
    EXPECT_EQ(parse_serial("unix:s,server"), (SerialSpec{Kind::unix_socket, "s"}));
    EXPECT_EQ(parse_serial("unix:s,server=on,wait=off"), (SerialSpec{Kind::unix_socket, "s"}));
}

TEST(SerialSpec, RefusalsNameTheValidForms) {
    constexpr auto valid = "use none, stdio, file:PATH, pty or unix:PATH";
    EXPECT_THAT(refusal_of("tty"), HasSubstr(valid));
    EXPECT_THAT(refusal_of(""), HasSubstr(valid));
    EXPECT_THAT(refusal_of(":"), HasSubstr(valid));
    EXPECT_THAT(refusal_of("stdio:x"), HasSubstr(valid));
    EXPECT_THAT(refusal_of("file"), HasSubstr("write file:PATH"));
    EXPECT_THAT(refusal_of("unix:"), HasSubstr("write unix:PATH"));
    EXPECT_THAT(refusal_of("unix:,server"), HasSubstr("write unix:PATH"));
    EXPECT_THAT(refusal_of("unix:s,wait=on"), HasSubstr("'wait=on'"));
    EXPECT_THAT(refusal_of("unix:s,"), HasSubstr("option ''"));
}

}  // namespace
}  // namespace viaduct::console
