// What a daemon leaves behind, and who finds it.
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.hpp"
#include "tests/unit/soft_disk.hpp"
#include "vdpa/export/state_file.hpp"

namespace viaduct::vduse {
namespace {

using test::error_of;

class ExportState : public testing::Test {
protected:
    [[nodiscard]] StateFile open() const { return {folder(), "disk0"}; }
    [[nodiscard]] std::string folder() const { return directory_.path("exports"); }
    static DeviceShape shape() { return {.image = {}, .queues = 2, .queue_size = 64}; }

    test::TemporaryDirectory directory_;
};

TEST_F(ExportState, OutlivesItsDaemon) {
    {
        StateFile state = open();
        EXPECT_FALSE(state.is_inherited());
        state.begin(shape());
        EXPECT_EQ(state.in_flight().size(), 128U);
        EXPECT_EQ(state.status(), 0);
        state.set_status(15);
        state.in_flight()[65].order = 7;
    }
    const StateFile state = open();
    EXPECT_TRUE(state.is_inherited());
    EXPECT_EQ(state.inherited_shape(), shape());
    EXPECT_EQ(state.status(), 15);
    EXPECT_EQ(state.in_flight()[65].order, 7U);
}

TEST_F(ExportState, IsForgottenByADaemonThatBeginsAnew) {
    {
        StateFile state = open();
        state.begin(shape());
        state.set_status(15);
        state.in_flight()[65].order = 7;
    }
    StateFile state = open();
    state.begin(shape());
    EXPECT_EQ(state.status(), 0);
    EXPECT_EQ(state.in_flight()[65].order, 0U);
}

TEST_F(ExportState, HasOneDaemonAtATimeWhoseProcessIsNamed) {
    StateFile state = open();
    state.begin(shape());
    const std::string refusal = error_of([&] { (void)open(); });
    EXPECT_THAT(refusal, testing::HasSubstr("disk0 is exported already"));
    EXPECT_THAT(refusal, testing::HasSubstr(std::to_string(::getpid())));
}

TEST_F(ExportState, IsGoneWithItsDevice) {
    {
        StateFile state = open();
        state.begin(shape());
        state.remove();
    }
    EXPECT_FALSE(open().is_inherited());
}

TEST_F(ExportState, OfAnotherProgramIsNotBelieved) {
    std::filesystem::create_directory(folder());
    std::ofstream(folder() + "/disk0") << std::string(5000, 'x');
    EXPECT_FALSE(open().is_inherited());
}

TEST_F(ExportState, CutShortIsNotBelieved) {
    {
        StateFile state = open();
        state.begin(shape());
    }
    std::filesystem::resize_file(folder() + "/disk0", 4100);
    EXPECT_FALSE(open().is_inherited());
}

}  // namespace
}  // namespace viaduct::vduse
