// What is wrong with a config: everything at once, each problem at the line that caused it.
#pragma once

#include <fmt/format.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config_node.h"

namespace hg {

/// Collects problems while a config is read and validated.
class ConfigProblems {
 public:
  /// `source` is named where a problem has no place of its own.
  explicit ConfigProblems(std::string source = "config") : places_{{"", {std::move(source)}}} {}

  /// For a struct's validate(): `key` is relative to that struct ("" for the struct itself), and
  /// the sentence goes on from it: "is 2, but must not exceed lr = 1". Stands at the key's line if
  /// the key was given, else at the nearest section's.
  template <class... Args>
  void add(std::string_view key, fmt::format_string<Args...> format, Args&&... args) {
    const std::string path = join(section_, key);
    add_at(place_near(path), path, fmt::format(format, std::forward<Args>(args)...));
  }

  /// For the reader: a problem with the full path of its key.
  void add_at(const ConfigPlace& place, const std::string& path, std::string words);

  bool empty() const { return problems_.empty(); }
  /// True if no problem concerns `path` or a key below it.
  bool none_under(std::string_view path) const;
  /// One line per problem, by file, line and column; overrides last, in the order given.
  std::string text() const;

  /// The reader's bookkeeping: where each key was given last, and whose validate() is running.
  void set_place(const std::string& path, const ConfigPlace& place);
  const ConfigPlace* place_of(const std::string& path) const;
  void set_section(std::string path) { section_ = std::move(path); }

  /// "optimizer" and "lr" make "optimizer.lr"; either may be empty.
  static std::string join(std::string_view section, std::string_view key);

 private:
  struct Problem {
    ConfigPlace place;
    std::string path, words;
  };

  const ConfigPlace& place_near(std::string path) const;

  std::map<std::string, ConfigPlace> places_;  // by path; "" is the whole config
  std::string section_;
  std::vector<Problem> problems_;
};

}  // namespace hg
