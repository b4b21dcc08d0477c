/// A command's arguments, declared as a table of parameters and checked against it before the
/// command runs, with QEMU's words for what is missing, of the wrong type, or unexpected. What
/// commands return and events tell is declared in the same form.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace viaduct::control {

/// `size` is an integer from 0 to 2^64 - 1; `any` is whatever JSON can say.
enum class ArgumentType { string, integer, size, number, boolean, array, object, any };

/// Of all parameters of one command that say `exactly_one`, a client gives exactly one.
enum class Need { required, optional, exactly_one };

/// The type's name in QMP's error texts: "string", "integer".
[[nodiscard]] std::string_view name_of(ArgumentType type) noexcept;

/// A named value: an argument of a command, or a member of an object on the wire.
struct Parameter {
    std::string_view name;
    ArgumentType type;
    std::string_view doc;
    Need need = Need::required;
    /// The strings it accepts; empty: any.
    std::vector<std::string_view> values{};
    /// Of an array: its elements' type, which the command checks.
    ArgumentType element = ArgumentType::any;
    /// Of an object, or of each object in an array; empty: any.
    std::vector<Parameter> members{};
};
using Member = Parameter;

/// Whether a command also takes arguments that it does not name.
enum class Others { refused, accepted };

class Arguments {
public:
    /// Throws QmpError unless `given` holds what the parameters need, each of its type (and one of
    /// its values), and nothing else.
    Arguments(const std::vector<Parameter>& parameters, boost::json::object given,
              Others others = Others::refused);

    [[nodiscard]] bool has(std::string_view name) const noexcept { return given_.contains(name); }

    /// A required argument as `std::string`, `std::int64_t`, `std::uint64_t` (of a `size`),
    /// `double`, `bool`, `boost::json::array` or `boost::json::object`: the parameter's type.
    template <typename T>
    [[nodiscard]] T get(std::string_view name) const {
        T value{};
        read(given_.at(name), value);
        return value;
    }

    /// The one that was given of several of which exactly one is needed.
    template <typename T>
    [[nodiscard]] T get_one_of(std::initializer_list<std::string_view> names) const {
        return get<T>(given_one(names));
    }

    /// The same for an optional one: nothing when the client left it out.
    template <typename T>
    [[nodiscard]] std::optional<T> find(std::string_view name) const {
        if (!has(name)) return std::nullopt;
        return get<T>(name);
    }

private:
    [[nodiscard]] std::string_view given_one(std::initializer_list<std::string_view> names) const;

    static void read(const boost::json::value& from, std::string& to);
    static void read(const boost::json::value& from, std::int64_t& to);
    static void read(const boost::json::value& from, std::uint64_t& to);
    static void read(const boost::json::value& from, double& to);
    static void read(const boost::json::value& from, bool& to);
    static void read(const boost::json::value& from, boost::json::array& to);
    static void read(const boost::json::value& from, boost::json::object& to);

    boost::json::object given_;
};

}  // namespace viaduct::control
