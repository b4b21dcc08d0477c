// A view of characters, and numbers read from them: what is needed of std::string_view, which a
// freestanding library does not have.
#pragma once

#include <cstddef>
#include <cstdint>

namespace probe {

class Text {
public:
    constexpr Text() = default;
    constexpr Text(const char* begin, size_t size) : begin_{begin}, size_{size} {}
    constexpr Text(const char* terminated) : begin_{terminated} {  // NOLINT: literals are texts
        while (terminated[size_] != '\0') ++size_;
    }

    constexpr const char* begin() const { return begin_; }
    constexpr const char* end() const { return begin_ + size_; }
    constexpr size_t size() const { return size_; }
    constexpr bool empty() const { return size_ == 0; }
    constexpr char operator[](size_t index) const { return begin_[index]; }

    constexpr Text substring(size_t from, size_t count) const { return {begin_ + from, count}; }
    constexpr bool starts_with(Text prefix) const {
        return size_ >= prefix.size_ && substring(0, prefix.size_) == prefix;
    }

    friend constexpr bool operator==(Text left, Text right) {
        if (left.size_ != right.size_) return false;
        for (size_t i = 0; i < left.size_; ++i) {
            if (left[i] != right[i]) return false;
        }
        return true;
    }

private:
    const char* begin_ = "";
    size_t size_ = 0;
};

struct ParsedNumber {
    uint64_t value;
    bool valid;
};

// Decimal, or hexadecimal after 0x; a suffix K, M or G multiplies as for `viaduct run --memory`.
constexpr ParsedNumber parse_number(Text text) {
    const bool is_hexadecimal = text.starts_with("0x");
    const uint64_t base = is_hexadecimal ? 16 : 10;
    uint64_t value = 0;
    for (size_t i = is_hexadecimal ? 2 : 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool is_last = i + 1 == text.size();
        if (c >= '0' && c <= '9') {
            value = value * base + static_cast<uint64_t>(c - '0');
        } else if (is_hexadecimal && c >= 'a' && c <= 'f') {
            value = value * base + static_cast<uint64_t>(c - 'a') + 10;
        } else if (is_last && c == 'K') {
            value <<= 10;
        } else if (is_last && c == 'M') {
            value <<= 20;
        } else if (is_last && c == 'G') {
            value <<= 30;
        } else {
            return {0, false};
        }
    }
    return {value, !text.empty()};
}

}  // namespace probe
