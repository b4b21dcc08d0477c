/// QMP messages out of a stream of bytes, however the stream is cut into pieces.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/stream_parser.hpp>

namespace viaduct::ctl {

class MessageReader {
public:
    /// `peer` is named in errors.
    explicit MessageReader(std::string peer) : peer_(std::move(peer)) {}

    void push(std::string_view bytes) { waiting_ += bytes; }

    /// The next whole message; nothing while it is not all there. Throws Error when what came is
    /// not a JSON object.
    [[nodiscard]] std::optional<boost::json::object> next();

private:
    std::string peer_;
    std::string waiting_;
    boost::json::stream_parser parser_;
};

}  // namespace viaduct::ctl
