/// A disk that answers when the test wants: each read takes its bytes from a pipe, and is in flight
/// until the test has put enough into it.
#pragma once

#include <fcntl.h>

#include <array>
#include <atomic>
#include <memory>

#include "tests/unit/soft_disk.hpp"
#include "vdpa/soft/image/image.hpp"

namespace viaduct::test {

class HeldImage final : public soft::Image {
public:
    /// The end that the test writes to.
    class Gate {
    public:
        Gate() {
            std::array<int, 2> ends{};
            if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw SystemError("pipe");
            read_ = Fd(ends[0]);
            write_ = Fd(ends[1]);
        }
        void release(const Bytes& bytes) const {
            EXPECT_EQ(::write(write_.get(), bytes.data(), bytes.size()),
                      static_cast<ssize_t>(bytes.size()));
        }
        [[nodiscard]] int read_end() const { return read_.get(); }

        /// Whether the last operation was to be durable.
        mutable std::atomic<bool> durable = false;
        /// Operations that were begun.
        mutable std::atomic<unsigned> begun = 0;

    private:
        Fd read_;
        Fd write_;
    };

    explicit HeldImage(const Gate& gate, bool read_only = false)
        : gate_(gate), geometry_{std::uint64_t{1} << 20, 512, 512, read_only} {}

    [[nodiscard]] const std::string& name() const noexcept override { return name_; }
    [[nodiscard]] const soft::Geometry& geometry() const noexcept override { return geometry_; }
    [[nodiscard]] std::unique_ptr<soft::Lane> open_lane(IoUring& ring) override {
        return std::make_unique<HeldLane>(ring, gate_);
    }

private:
    class HeldLane final : public soft::Lane {
    public:
        HeldLane(IoUring& ring, const Gate& gate) : ring_(ring), gate_(gate) {}
        void start(soft::Operation& operation) noexcept override {
            gate_.durable = operation.durable;
            ++gate_.begun;
            io_uring_sqe& request = ring_.next_request();
            io_uring_prep_readv(&request, gate_.read_end(), operation.segments.data(),
                                static_cast<unsigned>(operation.segments.size()), 0);
            io_uring_sqe_set_data(&request, &operation);
        }
        std::optional<int> proceed(soft::Operation& /*operation*/, int result) noexcept override {
            return std::min(result, 0);
        }

    private:
        IoUring& ring_;
        const Gate& gate_;
    };

    const Gate& gate_;
    std::string name_ = "held image";
    soft::Geometry geometry_;
};

}  // namespace viaduct::test
