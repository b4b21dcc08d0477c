/// Waits, in a QMP command, for something that says on a thread of its own when it is done.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace viaduct::control {

/// Calls its argument, on whatever thread, when it is done.
template <typename... Result>
using Request = std::function<void(std::function<void(Result...)>)>;

/// Suspends the caller until `request`, which is started with it, is done. Give it a variable: GCC
/// 12 destroys a lambda twice that is made within a co_await expression.
template <typename... Result>
auto awaited(Request<Result...>& request) {
    auto start = [&request](auto handler) {
        // std::function wants to be copied; the handler does not.
        auto shared = std::make_shared<decltype(handler)>(std::move(handler));
        auto executor = boost::asio::get_associated_executor(*shared);
        // Without work the io_context could run out of it and end.
        auto work = boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked);
        request([shared, work](Result... result) {
            boost::asio::post(work, [shared, ... kept = std::move(result)]() mutable {
                (*shared)(std::move(kept)...);
            });
        });
    };
    return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Result...)>(
        std::move(start), boost::asio::use_awaitable);
}

}  // namespace viaduct::control
