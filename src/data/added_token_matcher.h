// Finds added tokens in text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hg {

class AddedTokenMatcher {
 public:
  struct Entry {
    std::string content;
    std::int32_t id;
  };

  /// No content may be empty.
  explicit AddedTokenMatcher(std::vector<Entry> entries);

  /// Calls on_text(part) for what lies between added tokens, where there is something, and
  /// on_token(id) for each of them, in order. The leftmost match counts, and of several the
  /// longest.
  template <class OnText, class OnToken>
  void split(std::string_view text, OnText&& on_text, OnToken&& on_token) const {
    std::size_t begin = 0;
    while (begin < text.size()) {
      const Found found = find(text, begin);
      if (found.at > begin) on_text(text.substr(begin, found.at - begin));
      if (found.entry != nullptr) on_token(found.entry->id);
      begin = found.at + (found.entry != nullptr ? found.entry->content.size() : 0);
    }
  }

 private:
  struct Found {
    std::size_t at;
    const Entry* entry;
  };
  /// The first match at or after `from`; the end of the text and no entry if there is none.
  Found find(std::string_view text, std::size_t from) const;

  std::vector<Entry> entries_;      // longest first
  std::array<bool, 256> begins_{};  // whether an entry begins with this byte
};

}  // namespace hg
