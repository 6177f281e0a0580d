// "did you mean ...?"
#include <numeric>
#include <span>

#include "core/config_keys.h"

namespace hg::config {
namespace {

/// Levenshtein's distance where swapping two neighbours counts as one edit.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, previous(b.size() + 1), current(b.size() + 1);
  std::iota(previous.begin(), previous.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    before = previous;
    std::swap(previous, current);
  }
  return previous[b.size()];
}

/// A typing error: up to one edit for every three letters, and one for short names.
bool is_close(std::string_view a, std::string_view b) {
  return edit_distance(a, b) <= std::max<std::size_t>(1, std::max(a.size(), b.size()) / 3);
}

}  // namespace

std::string unknown_key(const Keys& keys, std::string_view section, std::string_view name) {
  if (name.find('.') != name.npos) {
    return fmt::format("unknown key; a file has '{}:' below '{}:' instead", name_of(name),
                       parent_of(name));
  }
  const Key* nearest = nullptr;
  std::string elsewhere, siblings;
  for (const Key& key : std::span(keys).subspan(1)) {  // all but the whole
    const std::string_view candidate = name_of(key.path);
    if (parent_of(key.path) != section) {
      if (candidate == name) {
        elsewhere += fmt::format("{}'{}'", elsewhere.empty() ? "" : " and ", key.path);
      }
      continue;
    }
    siblings += fmt::format("{}{}", siblings.empty() ? "" : ", ", candidate);
    if (is_close(name, candidate) &&
        (!nearest ||
         edit_distance(name, candidate) < edit_distance(name, name_of(nearest->path)))) {
      nearest = &key;
    }
  }
  if (!elsewhere.empty()) return fmt::format("unknown key here; it exists as {}", elsewhere);
  if (nearest) return fmt::format("unknown key; did you mean '{}'?", nearest->path);
  return fmt::format("unknown key, expected one of {}", siblings);
}

}  // namespace hg::config
