// A config struct as a list of its keys, with the members' types erased. This is all that reading,
// printing, documenting and comparing work on.
#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "core/config_value.h"

namespace hg {

/// What documentation says of a key.
struct ConfigHelp {
  std::string path;           ///< "optimizer.lr"; "data.sources[].path" within a list of sections
  std::string type;           ///< "number", "cosine | linear", "[string, ...]", "number or null"
  std::string default_value;  ///< as YAML; "required" for keys that must be given
  std::string constraint;     ///< "> 0 and <= 1"; may be empty
  std::string help;
};

namespace config {

/// A key, or a section of keys. The functions refer to the struct the list was made from.
struct Key {
  std::string path;  ///< "optimizer.lr"; "" is the config itself
  std::string type, help;
  bool is_section = false;
  ConfigConstraints constraints;

  std::function<void(const ConfigNode&, ConfigProblems&)> read;  ///< of keys
  std::function<std::string()> text;               ///< of keys: the value as YAML on one line
  std::function<std::vector<ConfigHelp>()> items;  ///< of lists of sections: the keys of an item
  std::function<void(ConfigProblems&)> validate;   ///< of sections that have validate(); else empty
};

/// In the order of fields(), a section before its keys; the first is the whole.
using Keys = std::vector<Key>;

template <ConfigSection T>
Keys keys_of(const T& value, const std::string& path = "", std::string_view help = "");

/// Reads the entries of `node` into their keys: those of `section` and the sections below.
void read_section(const Keys& keys, const std::string& section, const ConfigNode& node,
                  ConfigProblems& problems);
/// When everything is read: missing required keys, then validate() of each section free of
/// problems.
void finish(const Keys& keys, ConfigProblems& problems);
/// The rows of config.h's describe().
std::vector<ConfigHelp> describe(const Keys& keys);
/// A section as YAML on one line: "{path: a.bin, weight: 1}".
std::string flow_text(const Keys& keys, std::string_view section = "");
/// "unknown key; did you mean 'optimizer.lr'?"
std::string unknown_key(const Keys& keys, std::string_view section, std::string_view name);

/// "optimizer" of "optimizer.lr"; "" of "name".
std::string_view parent_of(std::string_view path);
/// "lr" of "optimizer.lr".
std::string_view name_of(std::string_view path);

/// Reads what the user wrote into `value`. Otherwise leaves it alone, adds a problem saying what
/// was found and what expected, and returns false.
template <class T>
bool read_value(T& value, const ConfigNode& node, const std::string& path,
                const ConfigConstraints& constraints, ConfigProblems& problems) {
  std::optional<T> parsed;
  if constexpr (is_optional<T>) {
    typename T::value_type inner{};
    if (node.kind == ConfigNode::Kind::null) {
      parsed.emplace();
    } else if (read_value(inner, node, path, constraints, problems)) {
      parsed.emplace(std::move(inner));
    } else {
      return false;
    }
  } else if constexpr (is_vector<T>) {
    if (node.kind == ConfigNode::Kind::list) {
      ConfigConstraints of_item = constraints;
      of_item.not_empty = false;
      parsed.emplace();
      bool good = true;
      for (const ConfigNode& child : node.children) {
        typename T::value_type item{};
        const std::string item_path = fmt::format("{}[{}]", path, parsed->size());
        good = read_value(item, child, item_path, of_item, problems) && good;
        parsed->push_back(std::move(item));
      }
      if (!good) return false;
    }
  } else if constexpr (ConfigSection<T>) {
    if (node.kind == ConfigNode::Kind::section) {
      const Keys keys = keys_of(value, path);
      read_section(keys, path, node, problems);
      finish(keys, problems);
      return problems.none_under(path);
    }
  } else {
    parsed = parse_scalar<T>(node);
  }
  if (parsed && satisfies(*parsed, constraints)) {
    value = *std::move(parsed);
    return true;
  }
  const std::string rules = Number<T> ? constraints.bounds_words() : constraints.length_words();
  problems.add_at(node.place, path,
                  fmt::format("found {}, expected {}{}{}", node.found(), expected<T>(node),
                              rules.empty() ? "" : " ", rules));
  return false;
}

/// The value as YAML on one line, which read_value turns into the same value.
template <class T>
std::string value_text(const T& value) {
  if constexpr (is_optional<T>) {
    return value ? value_text(*value) : "null";
  } else if constexpr (is_vector<T>) {
    std::string text;
    for (const auto& item : value) text += (text.empty() ? "" : ", ") + value_text(item);
    return fmt::format("[{}]", text);
  } else if constexpr (ConfigSection<T>) {
    return flow_text(keys_of(value));
  } else if constexpr (std::same_as<T, ConfigNode>) {
    return value.flow_text();
  } else if constexpr (std::is_enum_v<T>) {
    return quote(enum_name(value));
  } else if constexpr (std::same_as<T, std::filesystem::path>) {
    return quote(value.native());
  } else if constexpr (is_text<T>) {
    return quote(value);
  } else {
    return fmt::format("{}", value);  // the shortest that reads back bit for bit
  }
}

/// The visitor given to fields(): appends each field to `keys`.
struct KeyCollector {
  const std::string& section;
  Keys& keys;

  template <class T, class... Constraints>
  void operator()(std::string_view name, T& member, std::string_view help,
                  Constraints... constraints) const {
    const std::string path = ConfigProblems::join(section, name);
    HG_CHECK(std::ranges::find(keys, path, &Key::path) == keys.end(),
             "the config key {} is listed twice by fields()", path);
    if constexpr (ConfigSection<T>) {
      static_assert(sizeof...(constraints) == 0, "a section has no constraints of its own");
      std::ranges::move(keys_of(member, path, help), std::back_inserter(keys));
    } else {
      using Item = typename Innermost<T>::Type;
      static_assert(Number<Item> || (!std::same_as<Constraints, Bound> && ...),
                    "only numbers and lists of numbers have bounds");
      static_assert(!is_optional<T> || !ConfigSection<Item>,
                    "sections merge, so they are always there: give it a key that turns it off");
      Key key;
      key.path = path;
      key.type = type_name<T>();
      key.help = help;
      (key.constraints.add(constraints), ...);
      key.read = [&member, path, rules = key.constraints](const ConfigNode& node,
                                                          ConfigProblems& problems) {
        read_value(member, node, path, rules, problems);
      };
      key.text = [&member] { return value_text(member); };
      if constexpr (ConfigSection<Item>) {
        key.items = [path] { return describe(keys_of(Item(), path + "[]")); };
      }
      keys.push_back(std::move(key));
    }
  }
};

template <ConfigSection T>
Keys keys_of(const T& value, const std::string& path, std::string_view help) {
  // A struct lists its fields once, in a function that is not const because reading fills them. The
  // list made from a const struct is only printed or compared, so nothing const is ever written to.
  T& fields = const_cast<T&>(value);
  Key section;
  section.path = path;
  section.type = "section";
  section.help = help;
  section.is_section = true;
  if constexpr (requires(ConfigProblems & problems) { fields.validate(problems); }) {
    section.validate = [&fields, path](ConfigProblems& problems) {
      problems.set_section(path);
      fields.validate(problems);
      problems.set_section("");
    };
  }
  Keys keys;
  keys.push_back(std::move(section));
  fields.fields(KeyCollector{path, keys});
  return keys;
}

}  // namespace config
}  // namespace hg
