#include "core/config_node.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "core/config_problems.h"
#include "core/config_value.h"

namespace hg {
namespace {

ConfigPlace place_of(const std::string& source, const YAML::Mark& mark) {
  return mark.is_null() ? ConfigPlace{source} : ConfigPlace{source, mark.line + 1, mark.column + 1};
}

/// Builds the tree from yaml-cpp's events. YAML::Node would be shorter, but it follows aliases
/// without saying so (also in circles) and drops every document behind the first.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(const std::string& source) : source_(source) {}

  /// Throws what was refused: later than the parser's own errors, which say more about a file that
  /// is no YAML at all.
  std::optional<ConfigNode> take_root() {
    if (refused_) throw *refused_;
    return has_root_ ? std::optional(std::move(root_)) : std::nullopt;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (has_root_) refuse(mark, "found a second document, expected one");
  }
  void OnDocumentEnd() override { has_root_ = true; }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(mark, "?", anchor, ConfigNode::Kind::null);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (expects_key()) {
      check_plain(mark, tag, anchor);
      if (value.empty()) refuse(mark, "found an empty key, expected a word");
      key_ = {value, place_of(source_, mark)};
      return;
    }
    ConfigNode* node = add(mark, tag, anchor, ConfigNode::Kind::scalar);
    node->text = value;
    node->quoted = tag == "!";
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open_.push_back(add(mark, tag, anchor, ConfigNode::Kind::list));
  }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open_.push_back(add(mark, tag, anchor, ConfigNode::Kind::section));
  }

  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapEnd() override { open_.pop_back(); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    refuse(mark, "found an alias (*), expected the value itself");
  }

 private:
  void refuse(const YAML::Mark& mark, std::string_view words) {
    if (!refused_) refused_.emplace(mark, std::string(words));
  }

  // yaml-cpp's tags: "?" for what has none, "!" for scalars in quotes.
  void check_plain(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) refuse(mark, "found an anchor (&), expected the value itself");
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "found a tag (!), expected a value");
  }

  bool expects_key() const {
    return !open_.empty() && open_.back()->kind == ConfigNode::Kind::section && !key_;
  }

  /// Hangs a node into the innermost open list or section, which alone may grow: the pointers in
  /// open_ stay good.
  ConfigNode* add(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  ConfigNode::Kind kind) {
    check_plain(mark, tag, anchor);
    if (expects_key()) refuse(mark, "found a value, expected a key");
    ConfigNode* node = open_.empty() ? &root_ : &open_.back()->children.emplace_back();
    node->kind = kind;
    node->place = key_ ? key_->place : place_of(source_, mark);
    if (key_) node->key = key_->name;
    key_.reset();
    return node;
  }

  struct Key {
    std::string name;
    ConfigPlace place;
  };

  const std::string& source_;
  ConfigNode root_;
  bool has_root_ = false;
  std::vector<ConfigNode*> open_;
  std::optional<YAML::ParserException> refused_;  // the first
  std::optional<Key> key_;                        // read, and its value is awaited
};

/// Nothing if there is no document at all, only comments perhaps. Throws YAML::Exception.
std::optional<ConfigNode> parse_document(const std::string& yaml, const std::string& source) {
  TreeBuilder builder(source);
  std::istringstream stream(yaml);
  YAML::Parser parser(stream);
  while (parser.HandleNextDocument(builder)) {
  }
  return builder.take_root();
}

ConfigNode make_section(ConfigPlace place) {
  ConfigNode section;
  section.kind = ConfigNode::Kind::section;
  section.place = std::move(place);
  return section;
}

/// yaml-cpp keeps repeated keys, one behind the other. Drops all but the first of each.
void refuse_repeated_keys(ConfigNode& node, const std::string& path, ConfigProblems& problems) {
  const bool is_list = node.kind == ConfigNode::Kind::list;
  std::vector<ConfigNode> kept;
  for (ConfigNode& child : node.children) {
    const std::string child_path =
        is_list ? fmt::format("{}[{}]", path, kept.size()) : ConfigProblems::join(path, child.key);
    const auto first = std::ranges::find(kept, child.key, &ConfigNode::key);
    if (!is_list && first != kept.end()) {
      const int line = first->place.line;
      problems.add_at(
          child.place, child_path,
          line == 0 ? "given twice" : fmt::format("given twice, first at line {}", line));
    } else {
      refuse_repeated_keys(child, child_path, problems);
      kept.push_back(std::move(child));
    }
  }
  node.children = std::move(kept);
}

bool has_empty_part(const std::string& path) {
  return path.empty() || path.front() == '.' || path.back() == '.' ||
         path.find("..") != std::string::npos;
}

void set_place(ConfigNode& node, const ConfigPlace& place) {
  node.place = place;
  for (ConfigNode& child : node.children) set_place(child, place);
}

}  // namespace

std::string ConfigPlace::text() const {
  return line == 0 ? source : fmt::format("{}:{}:{}", source, line, column);
}

std::string ConfigNode::found() const {
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::scalar:
      return quoted ? '"' + text + '"' : '\'' + text + '\'';
    case Kind::list:
      return children.empty() ? "an empty list" : "a list";
    case Kind::section:
      return "a section";
  }
  return {};
}

std::string ConfigNode::flow_text() const {
  // Numbers and the like stay what they are; quotes would make text of them.
  constexpr std::string_view kSafe = "+-./_%~";
  const auto safe = [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kSafe.find(c) != kSafe.npos;
  };
  std::string items;
  for (const ConfigNode& child : children) {
    items += items.empty() ? "" : ", ";
    if (kind == Kind::section) items += config::quote(child.key) + ": ";
    items += child.flow_text();
  }
  switch (kind) {
    case Kind::null:
      return "null";
    case Kind::scalar:
      return quoted || !std::ranges::all_of(text, safe) ? config::quote(text) : text;
    case Kind::list:
      return fmt::format("[{}]", items);
    case Kind::section:
      return fmt::format("{{{}}}", items);
  }
  return {};
}

std::optional<ConfigNode> parse_yaml(const std::string& yaml, const std::string& source,
                                     ConfigProblems& problems) {
  try {
    ConfigNode root = parse_document(yaml, source).value_or(make_section({source}));
    if (root.kind == ConfigNode::Kind::section) {
      refuse_repeated_keys(root, "", problems);
      return root;
    }
    problems.add_at(root.place, "",
                    fmt::format("found {}, expected keys with values", root.found()));
  } catch (const YAML::Exception& error) {
    problems.add_at(place_of(source, error.mark), "", error.msg);
  }
  return std::nullopt;
}

std::optional<ConfigNode> parse_override(const std::string& assignment, ConfigProblems& problems) {
  const ConfigPlace place{"--set " + assignment};
  const auto refuse = [&](const std::string& words) {
    problems.add_at(place, "", words);
    return std::nullopt;
  };
  const std::size_t equals = assignment.find('=');
  std::string path = assignment.substr(0, equals);
  if (equals == std::string::npos || has_empty_part(path)) {
    return refuse("expected section.key=value");
  }

  std::optional<ConfigNode> node;
  try {
    node = parse_document(assignment.substr(equals + 1), place.source);
  } catch (const YAML::Exception& error) {
    return refuse(error.msg);
  }
  if (!node) return refuse("expected a value behind '=': null to unset, '' for an empty text");
  if (node->kind == ConfigNode::Kind::section) {
    return refuse("found a section, expected one value or a list such as [a, b]");
  }
  set_place(*node, place);  // lines and columns inside an override mean nothing to the user
  refuse_repeated_keys(*node, path, problems);

  // Wrapped from the inside out: a.b=1 is {a: {b: 1}}.
  for (;;) {
    const std::size_t dot = path.rfind('.');
    node->key = dot == std::string::npos ? path : path.substr(dot + 1);
    ConfigNode section = make_section(place);
    section.children.push_back(*std::move(node));
    if (dot == std::string::npos) return section;
    node = std::move(section);
    path.resize(dot);
  }
}

}  // namespace hg
