#include "dist/ranks_words.h"

#include <fmt/format.h>

#include <algorithm>

namespace hg {

std::string ranks_words(std::span<const int> ranks) {
  constexpr std::size_t kNamed = 8;
  const std::size_t named = std::min(ranks.size(), kNamed);
  std::string text = fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", ranks[0]);
  for (std::size_t i = 1; i < named; ++i) text += fmt::format(", {}", ranks[i]);
  if (named < ranks.size()) text += fmt::format(" and {} more", ranks.size() - named);
  return text;
}

}  // namespace hg
