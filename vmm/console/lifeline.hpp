/// Callbacks that outlive their object: what is posted to the io_context through a lifeline is
/// dropped, not run, once the lifeline is gone. The object is destroyed on the io_context's thread.
#pragma once

#include <memory>
#include <utility>

namespace viaduct::console {

class Lifeline {
public:
    template <typename F>
    [[nodiscard]] auto bind(F callback) const {
        return [alive = std::weak_ptr<const int>(token_),
                callback = std::move(callback)](auto&&... arguments) mutable {
            if (!alive.expired()) callback(std::forward<decltype(arguments)>(arguments)...);
        };
    }

private:
    std::shared_ptr<const int> token_ = std::make_shared<const int>(0);
};

}  // namespace viaduct::console
