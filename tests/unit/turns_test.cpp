#include "vmm/control/commands/turns.hpp"

#include <memory>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace viaduct::control {
namespace {

/// Begins, waits until the test lets it go on, and ends.
boost::asio::awaitable<void> take_a_turn(Turns& turns, char name, std::string& told,
                                         std::function<void()>& go_on) {
    const auto turn = co_await turns.take();
    told += name;
    Request<> wait = [&](std::function<void()> done) { go_on = std::move(done); };
    co_await awaited(wait);
    told += static_cast<char>(name + 'A' - 'a');
    if (name == 'b') throw Error("fails on purpose");
}

TEST(Turns, AreTakenOneAfterTheOtherHoweverTheyEnd) {
    boost::asio::io_context context;
    const auto turns = std::make_shared<Turns>();
    std::string told;
    std::function<void()> go_on;
    for (const char name : {'a', 'b', 'c'}) {
        boost::asio::co_spawn(context, take_a_turn(*turns, name, told, go_on),
                              [](const std::exception_ptr&) {});
    }
    const auto poll = [&] {
        context.restart();
        context.poll();
    };
    for (const char* const expected : {"a", "aAb", "aAbBc"}) {
        poll();
        EXPECT_EQ(told, expected);
        go_on();
    }
    poll();
    EXPECT_EQ(told, "aAbBcC");
    // And there is one to be had again.
    boost::asio::co_spawn(context, take_a_turn(*turns, 'd', told, go_on), boost::asio::detached);
    poll();
    EXPECT_EQ(told, "aAbBcCd");
    go_on();
    poll();
    EXPECT_EQ(told, "aAbBcCdD");
}

TEST(Turns, AreNotNeededByACommandThatIsCutShort) {
    std::string told;
    std::function<void()> go_on;
    auto context = std::make_unique<boost::asio::io_context>();
    auto turns = std::make_shared<Turns>();
    for (const char name : {'a', 'b'}) {
        boost::asio::co_spawn(*context, take_a_turn(*turns, name, told, go_on),
                              boost::asio::detached);
    }
    context->poll();
    turns.reset();
    go_on = nullptr;
    context.reset();
    EXPECT_EQ(told, "a");
}

}  // namespace
}  // namespace viaduct::control
