#include "data/loader.h"

#include <gtest/gtest.h>

#include <set>

#include "support/token_data.h"

namespace hg::test {
namespace {

/// What a batch holds, to keep and to compare.
struct Content {
  std::vector<std::int32_t> tokens, targets, positions, documents;
  bool operator==(const Content&) const = default;

  explicit Content(const HostBatch& batch)
      : tokens(batch.tokens),
        targets(batch.targets),
        positions(batch.positions),
        documents(batch.documents) {}

  void append(const Content& other) {
    const auto add = [](auto& to, const auto& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    const std::int32_t end = documents.back();
    documents.pop_back();
    for (const std::int32_t begin : other.documents) documents.push_back(end + begin);
    add(tokens, other.tokens);
    add(targets, other.targets);
    add(positions, other.positions);
  }
};

class LoaderTest : public testing::Test {
 protected:
  TempFolder folder_;
  TokenFile file_{write_tokens(folder_, counting_documents({30, 1, 200, 0, 17, 252}), 500), 500};
  LoaderOptions options_{.seed = 9, .seq_len = 8, .sequences = 4};

  static std::vector<Content> take(Loader& loader, int batches) {
    std::vector<Content> contents;
    for (int i = 0; i < batches; ++i) contents.emplace_back(loader.next());
    return contents;
  }
};

TEST_F(LoaderTest, YieldsThePackedSamplesInOrder) {
  Loader loader(file_, options_);
  const Sampler sampler(file_, 8, 9, SampleOrder::random);
  HostBatch batch(32);
  for (std::int64_t i = 0; i < 40; ++i) {  // more than two epochs of 61 windows
    EXPECT_EQ(loader.samples_consumed(), 4 * i);
    std::vector<Window> windows;
    for (std::int64_t s = 4 * i; s < 4 * i + 4; ++s) windows.push_back(sampler(s));
    pack(file_, windows, batch);
    EXPECT_EQ(Content(loader.next()), Content(batch)) << i;
  }
}

TEST_F(LoaderTest, ABatchStaysUntilTheNextCall) {
  Loader loader(file_, options_);
  for (int i = 0; i < 20; ++i) {
    const HostBatch& batch = loader.next();
    const Content before(batch);
    for (int turn = 0; turn < 200; ++turn) std::this_thread::yield();  // the thread reads ahead
    EXPECT_EQ(Content(batch), before);
  }
}

TEST_F(LoaderTest, ReusesThreeBatches) {
  Loader loader(file_, options_);
  std::set<const void*> addresses;
  for (int i = 0; i < 30; ++i) {
    const HostBatch& batch = loader.next();
    addresses.insert({batch.tokens.data(), batch.targets.data(), batch.positions.data(),
                      batch.documents.data()});
  }
  EXPECT_EQ(addresses.size(), 12U);
}

TEST_F(LoaderTest, ResumingEqualsSkipping) {
  Loader whole(file_, options_);
  const std::vector<Content> expected = take(whole, 50);
  for (const std::size_t skipped : {0U, 1U, 2U, 17U, 40U}) {
    Loader interrupted(file_, options_);
    take(interrupted, static_cast<int>(skipped));
    LoaderOptions options = options_;
    options.first_sample = interrupted.samples_consumed();
    Loader resumed(file_, options);
    EXPECT_EQ(resumed.samples_consumed(), interrupted.samples_consumed());
    const std::vector<Content> rest(expected.begin() + static_cast<std::ptrdiff_t>(skipped),
                                    expected.end());
    EXPECT_EQ(take(resumed, 50 - static_cast<int>(skipped)), rest);
    EXPECT_EQ(resumed.samples_consumed(), 200);
    whole.seek(options.first_sample);
    EXPECT_EQ(take(whole, 50 - static_cast<int>(skipped)), rest);
  }
}

TEST_F(LoaderTest, TwoRanksSeeWhatOneWould) {
  options_.sequences = 6;
  Loader one(file_, options_);
  for (const int ranks : {2, 3}) {
    one.seek(0);
    options_.ranks = ranks;
    options_.sequences = 6 / ranks;
    std::vector<std::unique_ptr<Loader>> loaders;
    for (options_.rank = 0; options_.rank < ranks; ++options_.rank) {
      loaders.push_back(std::make_unique<Loader>(file_, options_));
    }
    for (int i = 0; i < 30; ++i) {
      Content together(loaders[0]->next());
      for (std::size_t r = 1; r < loaders.size(); ++r) together.append(Content(loaders[r]->next()));
      EXPECT_EQ(together, Content(one.next()));
      EXPECT_EQ(loaders[0]->samples_consumed(), one.samples_consumed());
      EXPECT_EQ(loaders[1]->samples_consumed(), one.samples_consumed());
    }
  }
}

TEST_F(LoaderTest, StateCarriesOverToAnotherBatchSize) {
  Loader small(file_, options_);
  take(small, 3);
  options_.sequences = 8;
  options_.first_sample = small.samples_consumed();
  Content together(small.next());
  together.append(Content(small.next()));
  EXPECT_EQ(Content(Loader(file_, options_).next()), together);
}

TEST_F(LoaderTest, SequentialEndsWithAnErrorAfterItsLastWholeBatch) {
  options_.order = SampleOrder::sequential;  // 62 windows: 15 batches of 4
  Loader loader(file_, options_);
  std::vector<std::int32_t> tokens;
  for (const Content& content : take(loader, 15)) {
    tokens.insert(tokens.end(), content.tokens.begin(), content.tokens.end());
  }
  for (std::size_t i = 0; i < tokens.size(); ++i)
    EXPECT_EQ(tokens[i], static_cast<std::int32_t>(i));
  for (int again = 0; again < 2; ++again) {
    const std::string error = error_of([&] { loader.next(); });
    EXPECT_NE(error.find("no whole micro-batch of 4 samples at sample 60: there are 62"),
              std::string::npos)
        << error;
  }
  EXPECT_EQ(loader.samples_consumed(), 60);
  loader.seek(0);
  EXPECT_EQ(loader.next().tokens[0], 0);
}

TEST_F(LoaderTest, AllRanksFindTheSameEnd) {
  options_.order = SampleOrder::sequential;
  options_.ranks = 2;  // 62 windows: 7 batches of 8; the first rank's share of an eighth exists
  for (options_.rank = 0; options_.rank < 2; ++options_.rank) {
    Loader loader(file_, options_);
    take(loader, 7);
    EXPECT_THROW(loader.next(), Error);
  }
}

TEST_F(LoaderTest, EndsWhileReadingAhead) {
  for (int i = 0; i < 50; ++i) {
    Loader loader(file_, options_);
    if (i % 2 == 0) loader.next();
  }
}

TEST_F(LoaderTest, RefusesOptionsWithoutSense) {
  const auto refused = [&](auto change) {
    LoaderOptions options = options_;
    change(options);
    EXPECT_THROW(Loader(file_, options), Error);
  };
  refused([](LoaderOptions& o) { o.sequences = 0; });
  refused([](LoaderOptions& o) { o.seq_len = 0; });
  refused([](LoaderOptions& o) { o.seq_len = 500; });
  refused([](LoaderOptions& o) { o.first_sample = -1; });
  refused([](LoaderOptions& o) { o.rank = 1; });
  refused([](LoaderOptions& o) { o.ranks = 0; });
}

}  // namespace
}  // namespace hg::test
