/// A suite whose tests follow one another in one world (its devices, perhaps a guest), which is
/// made before the first of them: a boot is too dear for each test to have its own.
#pragma once

#include <memory>

#include <gtest/gtest.h>

namespace viaduct::test {

template <typename World>
class InOneWorld : public testing::Test {
protected:
    static void SetUpTestSuite() { world_ = std::make_unique<World>(); }
    static void TearDownTestSuite() { world_.reset(); }
    void SetUp() override { ASSERT_NE(world_, nullptr) << "what the tests need could not be made"; }

    static World& world() { return *world_; }

private:
    static inline std::unique_ptr<World> world_;
};

}  // namespace viaduct::test
