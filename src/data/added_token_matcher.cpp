#include "data/added_token_matcher.h"

#include <algorithm>

namespace hg {

AddedTokenMatcher::AddedTokenMatcher(std::vector<Entry> entries) : entries_(std::move(entries)) {
  std::ranges::stable_sort(entries_, std::ranges::greater{},
                           [](const Entry& entry) { return entry.content.size(); });
  for (const Entry& entry : entries_) begins_[static_cast<unsigned char>(entry.content[0])] = true;
}

AddedTokenMatcher::Found AddedTokenMatcher::find(std::string_view text, std::size_t from) const {
  if (entries_.empty()) return {text.size(), nullptr};
  for (std::size_t at = from; at < text.size(); ++at) {
    if (!begins_[static_cast<unsigned char>(text[at])]) continue;
    for (const Entry& entry : entries_) {
      if (text.substr(at).starts_with(entry.content)) return {at, &entry};
    }
  }
  return {text.size(), nullptr};
}

}  // namespace hg
