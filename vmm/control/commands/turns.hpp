/// One command after the other, in the order in which they came: for those whose steps another's
/// must not come between. On the thread of the commands.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "vmm/control/commands/awaited.hpp"

namespace viaduct::control {

/// In a std::shared_ptr: a command that is cut short, with the program, may outlive it.
class Turns : public std::enable_shared_from_this<Turns> {
public:
    /// Its end lets the next one go on.
    class Turn {
    public:
        explicit Turn(std::weak_ptr<Turns> turns) noexcept : turns_(std::move(turns)) {}
        Turn(Turn&&) noexcept = default;
        Turn& operator=(Turn&&) = delete;
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            if (const auto turns = turns_.lock()) turns->next();
        }

    private:
        std::weak_ptr<Turns> turns_;
    };

    boost::asio::awaitable<Turn> take() {
        Request<> wait = [this](std::function<void()> go_on) {
            waiting_.push_back(std::move(go_on));
            if (!std::exchange(taken_, true)) next();
        };
        co_await awaited(wait);
        co_return Turn(weak_from_this());
    }

private:
    void next() {
        taken_ = !waiting_.empty();
        if (!taken_) return;
        const auto go_on = std::move(waiting_.front());
        waiting_.pop_front();
        go_on();
    }

    bool taken_ = false;
    std::deque<std::function<void()>> waiting_;
};

}  // namespace viaduct::control
