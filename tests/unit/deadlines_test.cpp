// What the other tests demand of time, and where they do not.
#include "tests/support/deadlines.hpp"

#include <cstdlib>

#include <gmock/gmock.h>

namespace viaduct::test {
namespace {

TEST(Deadlines, AreToBeKeptUnlessTheEnvironmentSaysThatThereIsNoTime) {
    ::unsetenv("VIADUCT_NO_DEADLINES");
    EXPECT_TRUE(keeps_deadline(true, "1 ms"));
    EXPECT_FALSE(keeps_deadline(false, "3 s"));
    ::setenv("VIADUCT_NO_DEADLINES", "1", 1);
    testing::internal::CaptureStdout();
    EXPECT_TRUE(keeps_deadline(false, "3 s"));
    EXPECT_THAT(testing::internal::GetCapturedStdout(), testing::HasSubstr("3 s"));
    ::unsetenv("VIADUCT_NO_DEADLINES");
}

}  // namespace
}  // namespace viaduct::test
