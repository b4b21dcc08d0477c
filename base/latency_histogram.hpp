/// How long things took, counted in bins four to a factor of two, from 1 µs to 17 s: a percentile
/// read from it is right within a fifth. One thread counts, any may read meanwhile.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace viaduct {

class LatencyHistogram {
public:
    static constexpr unsigned bins = 98;

    void count(std::uint64_t nanoseconds) noexcept {
        auto& bin = counts_[bin_of(nanoseconds)];
        // One writer: no need for an atomic addition.
        bin.store(bin.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint64_t operator[](unsigned bin) const noexcept {
        return counts_[bin].load(std::memory_order_relaxed);
    }

    /// In nanoseconds, the least that is counted in `bin`; 0 for the first.
    static constexpr std::uint64_t lower_bound(unsigned bin) noexcept {
        if (bin == 0) return 0;
        const unsigned octave = (bin - 1) / 4;
        const unsigned quarter = (bin - 1) % 4;
        return std::uint64_t{4 + quarter} << (octave + first_bits - 3);
    }

    static constexpr unsigned bin_of(std::uint64_t nanoseconds) noexcept {
        const auto bits = static_cast<unsigned>(std::bit_width(nanoseconds));
        if (bits < first_bits) return 0;
        const auto quarter = static_cast<unsigned>(nanoseconds >> (bits - 3U)) & 3U;
        const unsigned bin = 1 + (bits - first_bits) * 4 + quarter;
        return bin < bins ? bin : bins - 1;
    }

private:
    static constexpr unsigned first_bits = 11;  // 1024 ns

    std::array<std::atomic<std::uint64_t>, bins> counts_{};
};

}  // namespace viaduct
