// Tokens, slices and work of the parts that ranks of the context axis keep.
#include "data/context_part.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "data/loader.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using Ids = std::vector<std::int32_t>;

/// Documents of these lengths, of which token i is number i.
HostBatch packed(const Ids& lengths) {
  const std::int32_t tokens = std::accumulate(lengths.begin(), lengths.end(), 0);
  HostBatch batch(tokens);
  for (const std::int32_t length : lengths) {
    batch.documents.push_back(static_cast<std::int32_t>(batch.tokens.size()));
    for (std::int32_t i = 0; i < length; ++i) {
      batch.tokens.push_back(static_cast<std::int32_t>(batch.tokens.size()));
      batch.targets.push_back(i + 1 < length ? batch.tokens.back() + 1 : -1);
      batch.positions.push_back(i);
    }
    batch.longest = std::max<std::int64_t>(batch.longest, length);
  }
  batch.documents.push_back(tokens);
  return batch;
}

HostBatch part_of(const HostBatch& whole, int rank, int ranks) {
  HostBatch part(std::ssize(whole.tokens) / ranks);
  cut_context(whole, rank, ranks, part);
  return part;
}

/// Pairs of a query and a key that it sees.
std::int64_t pairs(const HostBatch& part) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i + 1 < part.documents.size(); ++i) {
    const std::int64_t queries = part.documents[i + 1] - part.documents[i];
    const std::int64_t keys = part.keys[2 * i + 1] - part.keys[2 * i];
    sum += queries * keys - queries * (queries - 1) / 2;
  }
  return sum;
}

/// The most that a rank has to do, relative to an equal share.
double imbalance(const HostBatch& whole, int ranks) {
  std::int64_t all = 0, most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t of_rank = pairs(part_of(whole, rank, ranks));
    all += of_rank;
    most = std::max(most, of_rank);
  }
  return static_cast<double>(most * ranks) / static_cast<double>(all);
}

TEST(ContextPart, HasAPieceFromEachEnd) {
  const HostBatch whole = packed({5, 6, 1});
  const HostBatch first = part_of(whole, 0, 3), last = part_of(whole, 2, 3);
  EXPECT_EQ(first.tokens, (Ids{0, 1, 10, 11}));
  EXPECT_EQ(first.targets, (Ids{1, 2, -1, -1}));
  EXPECT_EQ(first.positions, (Ids{0, 1, 5, 0}));
  EXPECT_EQ(first.documents, (Ids{0, 2, 3, 4}));
  EXPECT_EQ(first.keys, (Ids{0, 2, 5, 11, 11, 12}));
  EXPECT_EQ(first.longest, 6);
  EXPECT_EQ(last.tokens, (Ids{4, 5, 6, 7}));
  EXPECT_EQ(last.documents, (Ids{0, 1, 2, 4}));
  EXPECT_EQ(last.keys, (Ids{0, 5, 5, 6, 5, 8}));  // a document in both pieces: two slices
}

TEST(ContextPart, QueriesSeeWhatTheySawInTheWhole) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    Ids lengths;
    std::int32_t left = 96;
    while (left > 0) {
      const auto length = static_cast<std::int32_t>(1 + random() % 40);
      lengths.push_back(std::min(left, length));
      left -= lengths.back();
    }
    const HostBatch whole = packed(lengths);
    for (const int ranks : {1, 2, 3, 4, 8}) {
      Ids tokens;
      for (int rank = 0; rank < ranks; ++rank) {
        const HostBatch part = part_of(whole, rank, ranks);
        tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
        ASSERT_EQ(part.keys.size(), 2 * (part.documents.size() - 1));
        ASSERT_EQ(part.documents.back(), 96 / ranks);
        for (std::size_t i = 0; i + 1 < part.documents.size(); ++i) {
          ASSERT_LT(part.documents[i], part.documents[i + 1]);
          const auto last = static_cast<std::size_t>(part.documents[i + 1] - 1);
          EXPECT_EQ(part.keys[2 * i + 1], part.tokens[last] + 1);
          EXPECT_EQ(part.keys[2 * i], part.tokens[last] - part.positions[last]);
        }
      }
      std::ranges::sort(tokens);
      EXPECT_EQ(tokens, whole.tokens);
    }
  }
}

TEST(ContextPart, WorkIsEvenForOneDocumentAndNearlySoForShortOnes) {
  for (const int ranks : {2, 4, 8}) {
    EXPECT_EQ(imbalance(packed({4096}), ranks), 1) << ranks;
    EXPECT_EQ(imbalance(packed(Ids(1024, 4)), ranks), 1) << ranks;
    EXPECT_EQ(imbalance(packed({2048, 2048}), ranks), 1) << ranks;
  }
  // One document can be all the work there is: then the pieces in which it ends matter. Whatever
  // the documents are, a rank's two pieces see at most the keys before them, so its pairs are never
  // more than those of a single document.
  const HostBatch one_long = packed([] {
    Ids lengths(2048, 1);
    lengths.push_back(2048);
    return lengths;
  }());
  for (const int ranks : {2, 4, 8}) {
    EXPECT_GT(imbalance(one_long, ranks), 1.4) << ranks;
    for (int rank = 0; rank < ranks; ++rank)
      EXPECT_LE(pairs(part_of(one_long, rank, ranks)), pairs(part_of(packed({4096}), rank, ranks)));
  }
}

TEST(ContextPart, NeverAllocatesAgain) {
  HostBatch part(8);
  const auto addresses = [&] {
    return std::vector{part.tokens.data(), part.targets.data(), part.positions.data(),
                       part.documents.data(), part.keys.data()};
  };
  const auto before = addresses();
  cut_context(packed({16}), 0, 2, part);
  cut_context(packed(Ids(16, 1)), 1, 2, part);  // a slice per token
  EXPECT_EQ(part.documents.size(), 9U);
  EXPECT_EQ(part.keys.size(), 16U);
  EXPECT_EQ(addresses(), before);
}

TEST(ContextPart, RefusesWhatDoesNotDivide) {
  HostBatch part(8);
  using testing::HasSubstr;
  EXPECT_THAT(error_of([&] { cut_context(packed({14}), 0, 2, part); }),
              HasSubstr("14 tokens are not 2 equal pieces for each of 2 ranks"));
  EXPECT_THAT(error_of([&] { cut_context(packed({16}), 2, 2, part); }), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(error_of([&] { cut_context(packed({32}), 0, 2, part); }),
              HasSubstr("16 tokens in a batch for 8"));
}

TEST(ContextPart, LoadersOfRanksHaveThePartsOfOneMicroBatch) {
  const TempFolder folder;
  const TokenFile file(write_tokens(folder, counting_documents({30, 1, 200, 0, 17, 252}), 500),
                       500);
  LoaderOptions options{.seed = 9, .seq_len = 8, .sequences = 3};
  Loader whole(file, options);
  options.parts = 2;
  Loader first(file, options);
  options.part = 1;
  Loader second(file, options);
  for (int i = 0; i < 10; ++i) {
    const HostBatch& batch = whole.next();
    EXPECT_EQ(first.next().tokens, part_of(batch, 0, 2).tokens);
    EXPECT_EQ(second.next().keys, part_of(batch, 1, 2).keys);
    EXPECT_EQ(second.whole().tokens, batch.tokens);
    EXPECT_EQ(whole.whole().tokens, batch.tokens);
    EXPECT_FALSE(batch.view().keys);
  }
}

}  // namespace
}  // namespace hg::test
