#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <gmock/gmock.h>

#include "tests/unit/qmp_conversation.hpp"
#include "vmm/control/connection.hpp"

namespace viaduct::control {
namespace {

namespace asio = boost::asio;

/// Says what it was given to say, then is silent; takes nothing.
class DeafStream final : public ByteStream {
public:
    DeafStream(asio::io_context& io, std::string said) : forever_(io), said_(std::move(said)) {
        forever_.expires_at(asio::steady_timer::time_point::max());
    }

    asio::awaitable<std::size_t> read_some(std::span<char> into) override {
        if (said_.empty()) co_await closed();
        const auto size = std::min(said_.size(), into.size());
        std::ranges::copy(said_.substr(0, size), into.begin());
        said_.erase(0, size);
        co_return size;
    }

    asio::awaitable<std::size_t> write_some(std::string_view) override {
        co_await closed();
        co_return 0;
    }

    void close() noexcept override { forever_.cancel(); }

private:
    asio::awaitable<void> closed() {
        co_await forever_.async_wait(asio::as_tuple(asio::use_awaitable));
    }

    asio::steady_timer forever_;
    std::string said_;
};

TEST(QmpConnection, HoldsBoundedMemoryForAClientThatNeverReads) {
    asio::io_context io;
    CommandTable table;
    Limits limits;
    limits.unread = 100'000;
    const auto connection = std::make_shared<Connection>(
        io.get_executor(), std::make_unique<DeafStream>(io, R"({"execute":"qmp_capabilities"})"),
        table, limits, "a deaf client", [] {});
    bool served = false;
    asio::co_spawn(io, connection->serve(), [&](const std::exception_ptr&) { served = true; });
    io.poll();

    const std::string event(1'000, 'e');
    std::size_t most = 0;
    for (int i = 0; i < 10'000; ++i) {
        connection->deliver(event);
        io.poll();
        most = std::max(most, connection->unread());
    }
    EXPECT_GT(most, limits.unread - event.size());
    EXPECT_LT(most, limits.unread + 2 * event.size());
    EXPECT_TRUE(connection->quiet()) << "it was not closed";
    io.run();
    EXPECT_TRUE(served);
    EXPECT_EQ(connection->unread(), 0U);
}

TEST(QmpConnection, DeliversNoEventBeforeNegotiation) {
    asio::io_context io;
    const CommandTable table;
    const auto connection =
        std::make_shared<Connection>(io.get_executor(), std::make_unique<DeafStream>(io, ""), table,
                                     Limits{}, "a stranger", [] {});
    asio::co_spawn(io, connection->serve(), asio::detached);
    io.poll();
    const auto greeting = connection->unread();
    connection->deliver("event");
    EXPECT_EQ(connection->unread(), greeting);
    connection->close();
    io.run();
}

}  // namespace
}  // namespace viaduct::control
