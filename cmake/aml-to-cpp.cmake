# Writes OUTPUT, a C++ source that holds the bytes of AML and returns them from NAME().
file(READ ${AML} bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REPEAT "0x..," 16 row)
string(REGEX REPLACE "(${row})" "\\1\n    " bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"firmware/acpi/${NAME}.hpp\"

namespace viaduct::firmware::acpi {
namespace {

constexpr unsigned char bytes[] = {
    ${bytes}};

}  // namespace

std::span<const std::byte> ${NAME}() noexcept { return std::as_bytes(std::span(bytes)); }

}  // namespace viaduct::firmware::acpi
")
