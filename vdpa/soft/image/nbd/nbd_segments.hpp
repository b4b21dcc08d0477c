/// A walk along the memory of a read or write, in pieces as a server takes them.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace viaduct::soft {

class NbdSegments {
public:
    NbdSegments() noexcept = default;
    explicit NbdSegments(std::span<const iovec> segments) noexcept : left_(segments) {}

    /// The next piece, at most `most` bytes that lie together; empty at the end.
    [[nodiscard]] std::span<std::byte> next(std::uint64_t most) noexcept {
        std::span<std::byte> piece = take(most);
        while (!piece.empty() && piece.size() < most && follows(piece)) {
            const auto more = take(most - piece.size());
            piece = {piece.data(), piece.size() + more.size()};
        }
        return piece;
    }

    /// The next bytes, as many as there are in `target`.
    void copy_to(std::span<std::byte> target) noexcept {
        while (!target.empty()) {
            const auto piece = take(target.size());
            if (piece.empty()) return;
            std::memcpy(target.data(), piece.data(), piece.size());
            target = target.subspan(piece.size());
        }
    }
    void copy_from(std::span<const std::byte> source) noexcept {
        while (!source.empty()) {
            const auto piece = take(source.size());
            if (piece.empty()) return;
            std::memcpy(piece.data(), source.data(), piece.size());
            source = source.subspan(piece.size());
        }
    }

private:
    std::span<std::byte> take(std::uint64_t most) noexcept {
        while (!left_.empty() && used_ == left_.front().iov_len) {
            left_ = left_.subspan(1);
            used_ = 0;
        }
        if (left_.empty()) return {};
        const iovec& first = left_.front();
        const std::span<std::byte> piece(
            static_cast<std::byte*>(first.iov_base) + used_,
            static_cast<std::size_t>(std::min<std::uint64_t>(most, first.iov_len - used_)));
        used_ += piece.size();
        return piece;
    }
    /// Whether what comes next lies right behind `piece`, as two pages of a guest often do.
    [[nodiscard]] bool follows(std::span<const std::byte> piece) const noexcept {
        return !left_.empty() && used_ == left_.front().iov_len && left_.size() > 1 &&
               left_[1].iov_base == piece.data() + piece.size();
    }

    std::span<const iovec> left_;
    std::size_t used_ = 0;  // of the first
};

}  // namespace viaduct::soft
