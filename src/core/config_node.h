// A YAML file as a small tree that remembers where everything stands. Keeps yaml-cpp out of
// headers.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hg {

/// Where a key or a value was given.
struct ConfigPlace {
  std::string source;        ///< a file, or an override: "--set optimizer.lr=1e-3"
  int line = 0, column = 0;  ///< both from 1; 0 means the source as a whole

  /// "configs/tiny.yaml:12:3".
  std::string text() const;
};

/// A value as the user wrote it, not yet of any type.
struct ConfigNode {
  enum class Kind { null, scalar, list, section };

  Kind kind = Kind::null;
  ConfigPlace place;                 ///< of the key for an entry of a section, else of the value
  std::string key;                   ///< of an entry of a section; no key comes twice
  std::string text;                  ///< of a scalar
  bool quoted = false;               ///< '5' and "5" are strings, 5 may be a number
  std::vector<ConfigNode> children;  ///< items of a list, entries of a section

  /// What to call this node in a message: 'fast', "5", null, a list, a section.
  std::string found() const;
  /// As YAML on one line, which reads back to the same node but for places: "[1, {a: b}]".
  std::string flow_text() const;
};

class ConfigProblems;

/// Parses one YAML document of keys and values; an empty one is an empty section. What YAML forbids
/// becomes a problem at its line, as do repeated keys, anchors, aliases, tags and keys that are no
/// plain words.
std::optional<ConfigNode> parse_yaml(const std::string& yaml, const std::string& source,
                                     ConfigProblems& problems);

/// The tree of an override "section.key=value"; the value is a YAML scalar or a list in brackets.
std::optional<ConfigNode> parse_override(const std::string& assignment, ConfigProblems& problems);

}  // namespace hg
