#include "data/word_cache.h"

#include <gtest/gtest.h>

#include <string>

namespace hg {
namespace {

using Ids = std::vector<std::int32_t>;

Ids find(const WordCache& cache, std::string_view word, std::uint64_t hash) {
  const auto ids = cache.find(word, hash);
  return {ids.begin(), ids.end()};
}

TEST(WordCache, FindsWhatWasStored) {
  WordCache cache;
  cache.store("word", 5, Ids{1, 2, 3});
  cache.store("other", 6, Ids{4});
  EXPECT_EQ(find(cache, "word", 5), (Ids{1, 2, 3}));
  EXPECT_EQ(find(cache, "other", 6), Ids{4});
  EXPECT_EQ(find(cache, "fresh", 7), Ids{});
}

TEST(WordCache, WordsOfOneSlotAreToldApart) {
  WordCache cache;
  cache.store("word", 5, Ids{1});
  EXPECT_EQ(find(cache, "ward", 5), Ids{});
  EXPECT_EQ(find(cache, "wor", 5), Ids{});
  EXPECT_EQ(find(cache, std::string_view("word\0", 5), 5), Ids{});
  cache.store("ward", 5 + 65536, Ids{2});
  EXPECT_EQ(find(cache, "word", 5), Ids{});
  EXPECT_EQ(find(cache, "ward", 5), Ids{2});
}

TEST(WordCache, KeepsNothingThatDoesNotFit) {
  WordCache cache;
  cache.store(std::string(30, 'a'), 1, Ids{1});
  cache.store(std::string(31, 'a'), 2, Ids{1});
  cache.store("eight", 3, Ids(8, 1));
  cache.store("nine", 4, Ids(9, 1));
  EXPECT_EQ(find(cache, std::string(30, 'a'), 1), Ids{1});
  EXPECT_EQ(find(cache, std::string(31, 'a'), 2), Ids{});
  EXPECT_EQ(find(cache, "eight", 3), Ids(8, 1));
  EXPECT_EQ(find(cache, "nine", 4), Ids{});
}

}  // namespace
}  // namespace hg
