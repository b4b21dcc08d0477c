#include "firmware/acpi/table.hpp"

#include <cstring>
#include <utility>

namespace viaduct::firmware::acpi {

std::uint8_t checksum(std::span<const std::byte> bytes) noexcept {
    unsigned sum = 0;
    for (const std::byte byte : bytes) sum += std::to_integer<unsigned>(byte);
    return static_cast<std::uint8_t>(0U - sum);
}

Table::Table(Signature signature, std::uint8_t revision) {
    append(TableHeader{.signature = signature,
                       .revision = revision,
                       .oem_id = oem_id,
                       .oem_table_id = {'V', 'I', 'A', 'D', 'U', 'C', 'T', ' '},
                       .oem_revision = 1,
                       .creator_id = {'V', 'D', 'C', 'T'},
                       .creator_revision = 1});
}

Table& Table::append_bytes(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
}

Bytes Table::finish() {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data() + offsetof(TableHeader, length), &length, sizeof(length));
    bytes_.at(offsetof(TableHeader, checksum)) = std::byte{checksum(bytes_)};
    return std::move(bytes_);
}

}  // namespace viaduct::firmware::acpi
