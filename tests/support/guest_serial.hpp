/// A running machine's serial port behind `--serial unix:PATH`, from the side that a person would
/// sit on. What does not come in time throws Error with the last words of both.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.hpp"
#include "tests/support/vm_process.hpp"

namespace viaduct::test {

class GuestSerial {
public:
    /// Connects, as soon as the machine listens.
    GuestSerial(const std::string& path, const Process& machine);

    void send_line(std::string_view line) const;
    /// Reads on until `text` is there; returns what stood before it. Without carriage returns.
    std::string read_until(std::string_view text, Seconds limit);
    /// After the machine's end: what was not read yet.
    std::string rest();

private:
    /// Waits a moment for more; false at the end of the connection.
    bool read_some();

    const Process& machine_;
    Fd socket_;
    std::string received_;
};

}  // namespace viaduct::test
