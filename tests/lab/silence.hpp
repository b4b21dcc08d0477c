/// The host's end of `in_silence` (tests/lab/serial-shell): a command in the guest, framed by words
/// that pass through one block of a disk, so that nothing of it reaches the VMM.
#pragma once

#include <functional>
#include <string>

#include "base/fd.hpp"
#include "tests/lab/linux_guest.hpp"

namespace viaduct::test {

class Silence {
public:
    /// The disk is `device` in the guest and the raw image `image` on the host; its last block is
    /// used.
    Silence(LinuxGuest& guest, std::string device, const std::string& image);

    /// Runs the command. Between its start and its end nothing else happens in the guest; `before`
    /// and `after` are called at these two moments.
    Answer run(const std::string& command, const std::function<void()>& before,
               const std::function<void()>& after);

private:
    void wait_for_word(const std::string& word);
    void say(const std::string& word);

    LinuxGuest& guest_;
    std::string device_;
    Fd image_;
    off_t offset_;
};

}  // namespace viaduct::test
