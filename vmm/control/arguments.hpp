/// A command's arguments, declared as a table of parameters and checked against it before the
/// command runs, with QEMU's words for what is missing, of the wrong type, or unexpected.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace viaduct::control {

enum class ArgumentType { string, integer, number, boolean, array, object };
enum class Need { required, optional };

/// The type's name in QMP's error texts and in the reference: "string", "integer".
[[nodiscard]] std::string_view name_of(ArgumentType type) noexcept;

struct Parameter {
    std::string_view name;
    ArgumentType type;
    std::string_view doc;
    Need need = Need::required;
    /// The strings it accepts; empty: any.
    std::vector<std::string_view> values{};
};

class Arguments {
public:
    /// Throws QmpError unless `given` holds every required parameter, each of its type (and one of
    /// its values), and nothing else.
    Arguments(const std::vector<Parameter>& parameters, boost::json::object given);

    [[nodiscard]] bool has(std::string_view name) const noexcept { return given_.contains(name); }

    /// A required argument as `std::string`, `std::int64_t`, `double`, `bool`, `boost::json::array`
    /// or `boost::json::object`: the parameter's type.
    template <typename T>
    [[nodiscard]] T get(std::string_view name) const {
        T value{};
        read(given_.at(name), value);
        return value;
    }

    /// The same for an optional one: nothing when the client left it out.
    template <typename T>
    [[nodiscard]] std::optional<T> find(std::string_view name) const {
        if (!has(name)) return std::nullopt;
        return get<T>(name);
    }

private:
    static void read(const boost::json::value& from, std::string& to);
    static void read(const boost::json::value& from, std::int64_t& to);
    static void read(const boost::json::value& from, double& to);
    static void read(const boost::json::value& from, bool& to);
    static void read(const boost::json::value& from, boost::json::array& to);
    static void read(const boost::json::value& from, boost::json::object& to);

    boost::json::object given_;
};

}  // namespace viaduct::control
