#include "core/config_keys.h"

namespace hg::config {

std::string_view parent_of(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == path.npos ? std::string_view() : path.substr(0, dot);
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('.') + 1); }

void read_section(const Keys& keys, const std::string& section, const ConfigNode& node,
                  ConfigProblems& problems) {
  for (const ConfigNode& entry : node.children) {
    const std::string path = ConfigProblems::join(section, entry.key);
    const auto key = std::ranges::find(keys, path, &Key::path);
    if (key == keys.end() || entry.key.find('.') != entry.key.npos) {
      problems.add_at(entry.place, path, unknown_key(keys, section, entry.key));
      continue;
    }
    // An override names its key only: it is not where the sections around the key stand.
    if (!key->is_section || entry.place.line > 0) problems.set_place(path, entry.place);
    if (!key->is_section) {
      key->read(entry, problems);
    } else if (entry.kind == ConfigNode::Kind::section) {
      read_section(keys, path, entry, problems);
    } else {
      problems.add_at(entry.place, path,
                      fmt::format("found {}, expected a section", entry.found()));
    }
  }
}

void finish(const Keys& keys, ConfigProblems& problems) {
  for (const Key& key : keys) {
    if (key.constraints.required && problems.place_of(key.path) == nullptr) {
      problems.add(key.path, "missing, but required ({})", key.help);
    }
  }
  std::vector<const Key*> sections;  // chosen before any validate() adds problems
  for (const Key& key : keys) {
    if (key.validate && problems.none_under(key.path)) sections.push_back(&key);
  }
  for (const Key* section : sections) section->validate(problems);
}

}  // namespace hg::config
