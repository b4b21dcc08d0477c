/// What `--serial` may say, parsed.
#pragma once

#include <string>
#include <string_view>

namespace viaduct::console {

struct SerialSpec {
    enum class Kind { none, stdio, file, pty, unix_socket };

    Kind kind = Kind::none;
    std::string path;  // of the file or the socket
    friend bool operator==(const SerialSpec&, const SerialSpec&) = default;
};

/// `none`, `stdio`, `file:PATH`, `pty`, `unix:PATH` (or `socket:PATH`; QEMU's `,server` and
/// `,wait=off`, which are what it does, may follow). Throws Error naming the valid ones.
SerialSpec parse_serial(std::string_view text);

}  // namespace viaduct::console
