/// The language in which attacks on a relay are written down (corpus/relay): a statement per line,
/// its words apart by blanks, `#` before a remark. Any bytes are a program: what means nothing is 0
/// or passed over.
///
/// A number is a sum (`ram+0x40`, `next+write`, `end-1`) of decimal or hexadecimal numbers and
/// names:
///
///     next write indirect                 a descriptor's flags
///     ram end rom bar shadow              the guest's memory, its end (more follows there), memory
///                                         that is read only, the MSI-X table, the shadow window
///     table avail used                    the ring's areas
///
/// First, if at all, what was agreed upon:
///
///     size N, base N, rings TABLE AVAIL USED, event-idx, indirect, block, iops N
///
/// Then what the guest does:
///
///     desc SLOT ADDRESS LENGTH FLAGS NEXT
///     desc-at TABLE SLOT ADDRESS LENGTH FLAGS NEXT    into an indirect table
///     write ADDRESS VALUE BYTES
///     avail HEAD                                      the next entry of the avail ring, published
///     entry INDEX HEAD                                any entry
///     advance N                                       avail.idx goes on by N
///     avail-flags N, used-flags N, used-index N, used-event N, avail-event N
///
/// the device:
///
///     use N LENGTH                                    hands the Nth of what it has back
///     element ID LENGTH                               hands anything back
///     jump N                                          used.idx goes on by N
///     scribble OFFSET VALUE                           in its used ring, 16 bits
///
/// and the relay: forward, complete, run (until it sleeps), pause, go-on, forward-held,
/// discard-held, wait MILLISECONDS. `again`: all of it anew, as if nothing had been.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace viaduct::fuzz {

struct Statement {
    std::string_view word;
    std::array<std::string_view, 6> numbers;
};

/// Takes the next statement off the program; nothing at its end.
std::optional<Statement> take_statement(std::string_view& program);

/// `named`: what a name means.
std::uint64_t evaluate(std::string_view sum,
                       const std::function<std::uint64_t(std::string_view)>& named);

}  // namespace viaduct::fuzz
