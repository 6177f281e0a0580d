#include "data/bpe_pair_merging.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "core/random.h"

namespace hg {
namespace {

/// The definition: counts all pairs anew for each merge.
std::vector<BpeMerge> learn_slowly(std::vector<CountedWord> words, std::int32_t first_id,
                                   std::int64_t merges) {
  std::vector<BpeMerge> learnt;
  while (static_cast<std::int64_t>(learnt.size()) < merges) {
    std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> counts;
    for (const auto& [symbols, count] : words) {
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
        counts[{symbols[i], symbols[i + 1]}] += count;
    }
    std::int64_t most = 1;
    BpeMerge best{};
    for (const auto& [pair, count] :
         counts) {  // in ascending order, so that the first of equals stays
      if (count <= most) continue;
      most = count;
      best = {pair.first, pair.second, first_id + static_cast<std::int32_t>(learnt.size())};
    }
    if (most < 2) break;
    learnt.push_back(best);
    for (auto& [symbols, count] : words) {
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] != best.left || symbols[i + 1] != best.right) continue;
        symbols[i] = best.result;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }
  return learnt;
}

TEST(LearnMerges, MostFrequentFirst) {
  // hug x10, pug x5, pun x12, bun x4, hugs x5, in the letters b g h n p s u.
  const std::vector<CountedWord> words = {
      {{2, 6, 1}, 10}, {{4, 6, 1}, 5}, {{4, 6, 3}, 12}, {{0, 6, 3}, 4}, {{2, 6, 1, 5}, 5}};
  const std::vector<BpeMerge> expected = {{6, 1, 7}, {6, 3, 8}, {2, 7, 9}};  // ug, un, hug
  EXPECT_EQ(learn_merges(words, 7, 3), expected);
}

TEST(LearnMerges, OfEqualsTheLowerIds) {
  EXPECT_EQ(learn_merges({{{3, 2}, 4}, {{1, 4}, 4}, {{1, 3}, 4}}, 5, 2),
            (std::vector<BpeMerge>{{1, 3, 5}, {1, 4, 6}}));
}

TEST(LearnMerges, StopsWhenNoPairOccursTwice) {
  EXPECT_EQ(learn_merges({{{0, 1}, 2}, {{2, 3}, 1}}, 4, 10), (std::vector<BpeMerge>{{0, 1, 4}}));
  EXPECT_TRUE(learn_merges({}, 4, 10).empty());
}

TEST(LearnMerges, AgreesWithTheDefinitionOnRandomWords) {
  for (std::uint64_t round = 0; round < 30; ++round) {
    const RandomStream random(round, "words");
    std::uint64_t draw = 0;
    std::vector<CountedWord> words(40);
    for (auto& [symbols, count] : words) {
      count = 1 + static_cast<std::int64_t>(random.bits(draw++) % 5);
      symbols.resize(1 + random.bits(draw++) % 12);
      for (auto& symbol : symbols) symbol = static_cast<std::int32_t>(random.bits(draw++) % 3);
    }
    ASSERT_EQ(learn_merges(words, 3, 60), learn_slowly(words, 3, 60)) << round;
  }
}

}  // namespace
}  // namespace hg
