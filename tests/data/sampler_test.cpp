#include "data/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/token_data.h"

namespace hg::test {
namespace {

class SamplerTest : public testing::Test {
 protected:
  /// A file of one document of `tokens` tokens, each in a folder of its own.
  const TokenFile& file(int tokens) {
    const auto& folder = folders_.emplace_back(std::make_unique<TempFolder>());
    files_.push_back(std::make_unique<TokenFile>(
        write_tokens(*folder, counting_documents({tokens}), 100'000), 100'000));
    return *files_.back();
  }

  /// Where the windows of one epoch begin, in order of visit.
  static std::vector<std::int64_t> epoch(const Sampler& sampler, std::int64_t epoch) {
    std::vector<std::int64_t> begins;
    const std::int64_t windows = sampler.windows_per_epoch();
    for (std::int64_t i = 0; i < windows; ++i) begins.push_back(sampler(epoch * windows + i).begin);
    return begins;
  }

 private:
  std::vector<std::unique_ptr<TempFolder>> folders_;
  std::vector<std::unique_ptr<TokenFile>> files_;
};

TEST_F(SamplerTest, EveryEpochVisitsEachOfItsWindowsOnce) {
  for (const int tokens : {17, 18, 31, 32, 33, 48, 49, 1000, 1003}) {
    const Sampler sampler(file(tokens), 16, 5, SampleOrder::random);
    EXPECT_EQ(sampler.windows_per_epoch(), std::max(1, (tokens - 1) / 16 - 1)) << tokens;
    for (std::int64_t e = 0; e < 5; ++e) {
      std::vector<std::int64_t> begins = epoch(sampler, e);
      std::ranges::sort(begins);
      EXPECT_GE(begins.front(), 0);
      EXPECT_LT(begins.front(), 16);
      EXPECT_LE(begins.back() + 16, tokens - 1) << "the last target must exist";
      for (std::size_t i = 1; i < begins.size(); ++i) EXPECT_EQ(begins[i], begins[i - 1] + 16);
    }
  }
}

TEST_F(SamplerTest, IsAPureFunctionOfTheSample) {
  const TokenFile& tokens = file(1000);
  const Sampler forward(tokens, 16, 5, SampleOrder::random),
      backward(tokens, 16, 5, SampleOrder::random);
  std::vector<Window> expected, found(300);
  for (std::int64_t i = 0; i < 300; ++i) expected.push_back(forward(i));
  for (std::int64_t i = 299; i >= 0; --i) found[static_cast<std::size_t>(i)] = backward(i);
  EXPECT_EQ(found, expected);
}

TEST_F(SamplerTest, DiffersBySeedAndByEpoch) {
  const TokenFile& tokens = file(3200);
  const Sampler a(tokens, 16, 5, SampleOrder::random), b(tokens, 16, 6, SampleOrder::random);
  EXPECT_NE(epoch(a, 0), epoch(b, 0));
  // Orders of visit, the shift of the epoch taken out.
  const auto order = [](std::vector<std::int64_t> begins) {
    for (std::int64_t& begin : begins) begin /= 16;
    return begins;
  };
  EXPECT_NE(order(epoch(a, 0)), order(epoch(b, 0)));
  EXPECT_NE(order(epoch(a, 0)), order(epoch(a, 1)));
}

TEST_F(SamplerTest, ShiftsReachEveryPlace) {
  const Sampler sampler(file(200), 8, 5, SampleOrder::random);
  std::set<std::int64_t> shifts;
  for (std::int64_t e = 0; e < 200; ++e) shifts.insert(epoch(sampler, e).front() % 8);
  EXPECT_EQ(shifts.size(), 8U);
}

TEST_F(SamplerTest, SequentialGoesThroughTheFileOnce) {
  const Sampler sampler(file(64), 16, 5, SampleOrder::sequential);
  ASSERT_EQ(sampler.samples(), 4);
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(sampler(i), (Window{i * 16, 16}));
  const std::string error = error_of([&] { sampler(4); });
  EXPECT_NE(error.find("sample 4 of 4"), std::string::npos) << error;
}

TEST_F(SamplerTest, RefusesAFileThatIsTooShort) {
  const std::string error = error_of([&] { Sampler(file(16), 16, 5, SampleOrder::random); });
  EXPECT_NE(error.find("holds 16 tokens, expected at least 17"), std::string::npos) << error;
  EXPECT_THROW(Sampler(file(16), 0, 5, SampleOrder::random), Error);
  EXPECT_THROW(Sampler(file(17), 16, 5, SampleOrder::random)(-1), Error);
}

}  // namespace
}  // namespace hg::test
