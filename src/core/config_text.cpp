// Configs as text: the resolved YAML, the documentation of the keys, and differences.
#include <algorithm>

#include "core/config.h"

namespace hg::config {
namespace {

std::size_t depth_of(std::string_view path) {
  return static_cast<std::size_t>(std::ranges::count(path, '.'));
}

/// One line per key, sections as "name:" with their keys indented below.
std::vector<std::string> yaml_lines(const Keys& keys) {
  std::vector<std::string> lines;
  for (const Key& key : std::span(keys).subspan(1)) {  // all but the whole
    const std::string indent(2 * depth_of(key.path), ' ');
    const auto is_inside = [&](const Key& other) { return parent_of(other.path) == key.path; };
    std::string text = "{}";
    if (!key.is_section) {
      text = key.text();
    } else if (std::ranges::any_of(keys, is_inside)) {
      text.clear();
    }
    lines.push_back(
        fmt::format("{}{}:{}{}", indent, name_of(key.path), text.empty() ? "" : " ", text));
  }
  return lines;
}

}  // namespace

std::string to_yaml(const Keys& keys, const ConfigOrigins* origins) {
  const std::vector<std::string> lines = yaml_lines(keys);
  std::size_t width = 0;
  for (const std::string& line : lines) width = std::max(width, line.size());
  width = std::min<std::size_t>(width, 50);  // a long list must not push every comment away

  std::string yaml;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Key& key = keys[i + 1];  // the first is the config itself
    if (origins == nullptr || key.is_section) {
      yaml += lines[i] + '\n';
    } else {
      const auto origin = origins->find(key.path);
      yaml += fmt::format("{:<{}}  # {}\n", lines[i], width,
                          origin == origins->end() ? "default" : origin->second);
    }
  }
  return yaml;
}

std::string flow_text(const Keys& keys, std::string_view section) {
  std::string text;
  for (const Key& key : keys) {
    if (key.path == section || parent_of(key.path) != section) continue;
    const std::string value = key.is_section ? flow_text(keys, key.path) : key.text();
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", name_of(key.path), value);
  }
  return fmt::format("{{{}}}", text);
}

std::vector<ConfigHelp> describe(const Keys& keys) {
  std::vector<ConfigHelp> rows;
  for (const Key& key : std::span(keys).subspan(1)) {  // all but the whole
    const std::string value = key.is_section             ? ""
                              : key.constraints.required ? "required"
                                                         : key.text();
    std::string constraint = key.constraints.length_words();
    const std::string bounds = key.constraints.bounds_words();
    if (!constraint.empty() && !bounds.empty()) constraint += "; ";
    rows.push_back({key.path, key.type, value, constraint + bounds, key.help});
    if (key.items) std::ranges::move(key.items(), std::back_inserter(rows));
  }
  return rows;
}

std::vector<ConfigDifference> differences(const Keys& a, const Keys& b) {
  std::vector<ConfigDifference> found;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].is_section) continue;
    const std::string text_a = a[i].text(), text_b = b[i].text();
    if (text_a != text_b) found.push_back({a[i].path, text_a, text_b});
  }
  return found;
}

}  // namespace hg::config
