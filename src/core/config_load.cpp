// Reading: files in the order of `extends`, then overrides, then what only the whole can tell.
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/check.h"
#include "core/config.h"

namespace hg::config {
namespace {

/// Reads the sources one after another into the same keys: a later one overwrites.
class Loader {
 public:
  Loader(const Keys& keys, const std::string& source) : keys_(keys), problems_(source) {}

  /// `named_at` and `named_by`: the place and key to blame if the file cannot be read.
  void read_file(const std::string& path, const ConfigPlace& named_at,
                 const std::string& named_by) {
    const auto refuse = [&](int errno_value) {
      all_read_ = false;
      problems_.add_at(named_at, named_by,
                       fmt::format("{}cannot be read: {}", named_by.empty() ? "" : path + " ",
                                   std::generic_category().message(errno_value)));
    };
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) return refuse(EISDIR);
    std::ifstream file(path);
    if (!file) return refuse(errno);
    const std::string yaml(std::istreambuf_iterator<char>(file), {});
    if (file.bad()) return refuse(errno);
    read_text(yaml, path);
  }

  void read_text(const std::string& yaml, const std::string& source) {
    std::optional<ConfigNode> root = parse_yaml(yaml, source, problems_);
    if (!root) return void(all_read_ = false);
    const auto extends = std::ranges::find(root->children, "extends", &ConfigNode::key);
    if (extends != root->children.end()) {
      read_extended(*extends, source);
      root->children.erase(extends);
    }
    read_section(keys_, "", *root, problems_);
  }

  void read_override(const std::string& assignment) {
    const std::optional<ConfigNode> root = parse_override(assignment, problems_);
    if (root) read_section(keys_, "", *root, problems_);
  }

  ConfigOrigins finish() {
    if (all_read_) config::finish(keys_, problems_);
    if (!problems_.empty()) throw Error(problems_.text());

    ConfigOrigins origins;
    for (const Key& key : keys_) {
      if (!key.is_section) origins[key.path] = origin(problems_.place_of(key.path));
    }
    return origins;
  }

 private:
  void read_extended(const ConfigNode& extends, const std::string& source) {
    if (extends.kind != ConfigNode::Kind::scalar || extends.text.empty()) {
      problems_.add_at(extends.place, "extends",
                       fmt::format("found {}, expected the path of a file", extends.found()));
      return;
    }
    open_.push_back(std::filesystem::path(source).lexically_normal());
    const auto base = (open_.back().parent_path() / extends.text).lexically_normal();
    if (std::ranges::find(open_, base) == open_.end()) {
      read_file(base, extends.place, "extends");
    } else {
      std::string cycle;
      for (const auto& path : open_) cycle += path.string() + " -> ";
      problems_.add_at(extends.place, "extends", "goes in a circle: " + cycle + base.string());
    }
    open_.pop_back();
  }

  static std::string origin(const ConfigPlace* place) {
    if (place == nullptr) return "default";
    return place->line == 0 ? "--set" : fmt::format("{}:{}", place->source, place->line);
  }

  const Keys& keys_;
  ConfigProblems problems_;
  bool all_read_ = true;                     // else nothing can be said of the whole
  std::vector<std::filesystem::path> open_;  // files that extend the one being read
};

ConfigOrigins finish(Loader& loader, std::span<const std::string> overrides) {
  for (const std::string& assignment : overrides) loader.read_override(assignment);
  return loader.finish();
}

}  // namespace

ConfigOrigins load_file(const Keys& keys, const std::string& path,
                        std::span<const std::string> overrides) {
  Loader loader(keys, path);
  loader.read_file(path, {path}, "");
  return finish(loader, overrides);
}

ConfigOrigins load_text(const Keys& keys, const std::string& yaml, const std::string& source,
                        std::span<const std::string> overrides) {
  Loader loader(keys, source);
  loader.read_text(yaml, source);
  return finish(loader, overrides);
}

}  // namespace hg::config
