/// One command after the other, in the order in which they came: for those whose steps another's
/// must not come between. On the thread of the commands.
#pragma once

#include <deque>
#include <functional>
#include <utility>

#include "vmm/control/commands/awaited.hpp"

namespace viaduct::control {

class Turns {
public:
    /// Its end lets the next one go on.
    class Turn {
    public:
        explicit Turn(Turns& turns) noexcept : turns_(&turns) {}
        Turn(Turn&& other) noexcept : turns_(std::exchange(other.turns_, nullptr)) {}
        Turn& operator=(Turn&&) = delete;
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        ~Turn() {
            if (turns_ != nullptr) turns_->next();
        }

    private:
        Turns* turns_;
    };

    boost::asio::awaitable<Turn> take() {
        Request<> wait = [this](std::function<void()> go_on) {
            waiting_.push_back(std::move(go_on));
            if (!std::exchange(taken_, true)) next();
        };
        co_await awaited(wait);
        co_return Turn(*this);
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
