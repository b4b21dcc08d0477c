#include "firmware/acpi/aml.hpp"

namespace viaduct::firmware::acpi::aml {
namespace {

// ACPI 6.4, 20.2.5 and 20.3
constexpr std::byte zero_op{0x00};
constexpr std::byte one_op{0x01};
constexpr std::byte name_op{0x08};
constexpr std::byte byte_prefix{0x0a};
constexpr std::byte string_prefix{0x0d};
constexpr std::byte qword_prefix{0x0e};
constexpr std::byte scope_op{0x10};
constexpr std::byte dual_name_prefix{0x2e};
constexpr std::byte multi_name_prefix{0x2f};
constexpr std::byte extended_prefix{0x5b};
constexpr std::byte device_op{0x82};

constexpr std::size_t segment_length = 4;

void append_text(Bytes& bytes, std::string_view text) {
    const auto raw = std::as_bytes(std::span(text));
    bytes.insert(bytes.end(), raw.begin(), raw.end());
}

/// PkgLength (20.2.4) counts itself. Two bytes of it reach 4095 bytes, three reach 1 MiB.
Bytes package_length(std::size_t content) {
    const std::size_t follow = content + 2 < 4096 ? 1 : 2;
    const std::size_t length = content + 1 + follow;
    Bytes bytes{static_cast<std::byte>(follow << 6 | (length & 0xf))};
    for (std::size_t i = 0; i < follow; ++i) {
        bytes.push_back(static_cast<std::byte>(length >> (4 + 8 * i)));
    }
    return bytes;
}

Bytes package(const Bytes& opcode, std::string_view path, const Bytes& body) {
    const Bytes content = join({name_string(path), body});
    return join({opcode, package_length(content.size()), content});
}

}  // namespace

Bytes join(std::initializer_list<Bytes> parts) {
    Bytes all;
    for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
}

Bytes name_string(std::string_view path) {
    Bytes bytes;
    if (path.starts_with('\\')) {
        bytes.push_back(std::byte{'\\'});
        path.remove_prefix(1);
    }
    const auto segments = (path.size() + 1) / (segment_length + 1);
    if (segments == 2) bytes.push_back(dual_name_prefix);
    if (segments > 2) {
        bytes.push_back(multi_name_prefix);
        bytes.push_back(static_cast<std::byte>(segments));
    }
    for (std::size_t i = 0; i < segments; ++i) {
        append_text(bytes, path.substr(i * (segment_length + 1), segment_length));
    }
    return bytes;
}

Bytes integer(std::uint64_t value) {
    if (value == 0) return {zero_op};
    if (value == 1) return {one_op};
    const bool is_byte = value <= 0xff;
    Bytes bytes{is_byte ? byte_prefix : qword_prefix};
    for (unsigned i = 0; i < (is_byte ? 1U : 8U); ++i) {
        bytes.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
    return bytes;
}

Bytes string(std::string_view text) {
    Bytes bytes{string_prefix};
    append_text(bytes, text);
    bytes.push_back(std::byte{0});
    return bytes;
}

Bytes name(std::string_view name, const Bytes& value) {
    return join({{name_op}, name_string(name), value});
}

Bytes scope(std::string_view path, const Bytes& body) {
    return package({scope_op}, path, body);
}

Bytes device(std::string_view name, const Bytes& body) {
    return package({extended_prefix, device_op}, name, body);
}

}  // namespace viaduct::firmware::acpi::aml
