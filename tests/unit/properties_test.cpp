// Comma-separated options, and "did you mean".
#include "vmm/properties.hpp"

#include <array>

#include <gmock/gmock.h>

#include "base/error.hpp"
#include "base/nearest_name.hpp"

namespace viaduct::vmm {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::ThrowsMessage;

TEST(Properties, HaveAHeadAndPairs) {
    const auto parsed = parse_properties("--device", "vdpa,path=/dev/x,id=disk0");
    EXPECT_EQ(parsed.head, "vdpa");
    EXPECT_THAT(parsed.pairs, ElementsAre(Pair("path", "/dev/x"), Pair("id", "disk0")));
}

TEST(Properties, MayBeAHeadAlone) {
    EXPECT_EQ(parse_properties("--memory", "2G").head, "2G");
    EXPECT_THAT(parse_properties("--memory", "2G").pairs, IsEmpty());
    EXPECT_EQ(parse_properties("--memory", "").head, "");
}

TEST(Properties, ACommaInAValueIsWrittenTwice) {
    const auto parsed = parse_properties("--device", "vdpa,image=a,,b,,,id=x");
    EXPECT_THAT(parsed.pairs, ElementsAre(Pair("image", "a,b,"), Pair("id", "x")));
}

TEST(Properties, AValueMayHoldAnEqualsSignOrNothing) {
    const auto parsed = parse_properties("--device", "vdpa,image=a=b,serial=");
    EXPECT_THAT(parsed.pairs, ElementsAre(Pair("image", "a=b"), Pair("serial", "")));
}

TEST(Properties, APartWithoutANameOrAValueIsShownInItsPlace) {
    for (const auto* const text : {"vdpa,path", "vdpa,=x", "vdpa,"}) {
        EXPECT_THAT([&] { (void)parse_properties("--device", text); },
                    ThrowsMessage<Error>(
                        AllOf(HasSubstr("--device"), HasSubstr(text), HasSubstr("name=value"))))
            << text;
    }
}

class AppliedProperties : public testing::Test {
protected:
    void apply(const std::string& text) {
        const std::array setters{
            PropertySetter{"path", [&](const auto& value) { path_ = value; }},
            PropertySetter{"image", [&](const auto& value) { image_ = value; }}};
        apply_properties("--device vdpa", parse_properties("--device", text), setters);
    }

    std::string path_;
    std::string image_;
};

TEST_F(AppliedProperties, ReachTheirSetters) {
    apply("vdpa,image=b,path=a");
    EXPECT_EQ(path_, "a");
    EXPECT_EQ(image_, "b");
}

TEST_F(AppliedProperties, AnUnknownOneNamesTheNearestAndAll) {
    EXPECT_THAT(
        [&] { apply("vdpa,imgae=x"); },
        ThrowsMessage<Error>(AllOf(HasSubstr("--device vdpa"), HasSubstr("'imgae'"),
                                   HasSubstr("did you mean 'image'"), HasSubstr("path, image"))));
}

TEST_F(AppliedProperties, OneThatIsGivenTwiceIsRefused) {
    EXPECT_THAT([&] { apply("vdpa,path=a,image=b,path=a"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("'path'"), HasSubstr("twice"))));
}

TEST(Properties, ASwitchIsOnOrOff) {
    EXPECT_TRUE(parse_switch("hugepages", "on"));
    EXPECT_FALSE(parse_switch("hugepages", "off"));
    for (const auto* const value : {"", "yes", "ON", "1"}) {
        EXPECT_THAT([&] { (void)parse_switch("hugepages", value); },
                    ThrowsMessage<Error>(AllOf(HasSubstr("hugepages"), HasSubstr("on nor off"))));
    }
}

TEST(Properties, ANumberIsDecimalOrHexadecimal) {
    EXPECT_EQ(parse_number("port", "244", 1, 0xffff), 244U);
    EXPECT_EQ(parse_number("port", "0xf4", 1, 0xffff), 0xf4U);
    EXPECT_EQ(parse_number("port", "1", 1, 9), 1U);
    EXPECT_EQ(parse_number("port", "9", 1, 9), 9U);
}

TEST(Properties, ANumberThatIsNoneOrOutOfRangeNamesTheRange) {
    for (const auto* const value : {"", "0", "10", "-1", "+5", " 5", "5 ", "five", "5x", "0x", "x5",
                                    "99999999999999999999"}) {
        EXPECT_THAT([&] { (void)parse_number("queues", value, 1, 9); },
                    ThrowsMessage<Error>(
                        AllOf(HasSubstr(std::string("queues=") + value), HasSubstr("from 1 to 9"))))
            << "'" << value << "'";
    }
}

TEST(NearestName, IsTheOneFewestEditsAway) {
    const std::array<std::string_view, 4> names{"--memory", "--cpus", "--kernel", "--device"};
    EXPECT_EQ(nearest_name("--memroy", names), "--memory");
    EXPECT_EQ(nearest_name("--cpu", names), "--cpus");
    EXPECT_EQ(nearest_name("--krenel", names), "--kernel");
    EXPECT_EQ(nearest_name("-device", names), "--device");
    EXPECT_EQ(nearest_name("--cpus", names), "--cpus");
}

TEST(NearestName, CountsInsertionsDeletionsAndReplacements) {
    const std::array<std::string_view, 2> names{"abcd", "wxyz"};
    EXPECT_EQ(nearest_name("acd", names), "abcd");
    EXPECT_EQ(nearest_name("wxxyz", names), "wxyz");
    EXPECT_EQ(nearest_name("wxyb", names), "wxyz");
}

TEST(NearestName, OfEqualsIsTheFirst) {
    const std::array<std::string_view, 2> names{"ab", "ac"};
    EXPECT_EQ(nearest_name("ad", names), "ab");
    EXPECT_EQ(nearest_name("", names), "ab");
}

}  // namespace
}  // namespace viaduct::vmm
