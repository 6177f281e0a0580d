#include "data/bpe_merger.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/random.h"

namespace hg {
namespace {

using Ids = std::vector<std::int32_t>;

Ids merge(const std::vector<BpeMerge>& merges, Ids ids) {
  BpeMerger().merge(MergeTable(merges), ids);
  return ids;
}

/// The definition, one merge at a time.
Ids merge_slowly(const std::vector<BpeMerge>& merges, Ids ids) {
  for (;;) {
    auto best = merges.end();
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = std::ranges::find_if(
          merges, [&](const BpeMerge& m) { return m.left == ids[i] && m.right == ids[i + 1]; });
      if (found < best) {
        best = found;
        at = i;
      }
    }
    if (best == merges.end()) return ids;
    ids[at] = best->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

TEST(BpeMerger, PrecedenceThenPosition) {
  const std::vector<BpeMerge> merges = {{1, 2, 10}, {0, 1, 11}, {10, 2, 12}};
  EXPECT_EQ(merge(merges, {0, 1, 2, 2}), (Ids{0, 12}));
  EXPECT_EQ(merge({{0, 0, 5}}, {0, 0, 0}), (Ids{5, 0}));
  EXPECT_EQ(merge({{0, 0, 5}, {5, 5, 6}}, {0, 0, 0, 0, 0, 0, 0}), (Ids{6, 5, 0}));
}

TEST(BpeMerger, ShortWordsAndNoMerges) {
  EXPECT_EQ(merge({}, {3, 4}), (Ids{3, 4}));
  EXPECT_EQ(merge({{0, 1, 2}}, {0}), (Ids{0}));
  EXPECT_EQ(merge({{0, 1, 2}}, {}), (Ids{}));
}

TEST(BpeMerger, AgreesWithTheDefinitionOnRandomMerges) {
  const RandomStream random(1, "merges");
  std::uint64_t draw = 0;
  const auto below = [&](std::int32_t n) {
    return static_cast<std::int32_t>(random.bits(draw++) % static_cast<std::uint64_t>(n));
  };
  BpeMerger merger;  // one for all: what a word leaves behind must not matter to the next
  for (int round = 0; round < 200; ++round) {
    std::vector<BpeMerge> merges;
    for (std::int32_t next = 4; next < 24; ++next) {
      const BpeMerge merge{below(next), below(next), next};
      const bool known = std::ranges::any_of(merges, [&](const BpeMerge& m) {
        return m.left == merge.left && m.right == merge.right;
      });
      if (!known) merges.push_back(merge);
    }
    const MergeTable table(merges);
    Ids ids(static_cast<std::size_t>(below(60)));
    for (auto& id : ids) id = below(4);
    const Ids expected = merge_slowly(merges, ids);
    merger.merge(table, ids);
    ASSERT_EQ(ids, expected) << round;
  }
}

TEST(MergeTable, FindsEveryPairAndNoOther) {
  std::vector<BpeMerge> merges;
  for (std::int32_t i = 0; i < 1000; ++i) merges.push_back({i, 7 * i, 1000 + i});
  const MergeTable table(merges);
  for (std::int32_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(table.rank(i, 7 * i), i);
    EXPECT_EQ(table.rank(i, 7 * i + 1), -1);
  }
  EXPECT_EQ(table[3], (BpeMerge{3, 21, 1003}));
}

}  // namespace
}  // namespace hg
