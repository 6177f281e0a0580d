#include "ops/inspect_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/op_checks.h"

namespace hg::test {
namespace {

constexpr Activation kActivations[] = {Activation::sigmoid, Activation::silu,
                                       Activation::ns_sigmoid, Activation::identity};

double score_of(Activation activation, double logit) {
  const double sigmoid = 1 / (1 + std::exp(-logit));
  switch (activation) {
    case Activation::sigmoid:
      return sigmoid;
    case Activation::silu:
      return logit * sigmoid;
    case Activation::ns_sigmoid:
      return 0.5 + 0.5 * sigmoid;
    case Activation::identity:
      return logit;
  }
  return NAN;
}

/// As numpy.quantile does by default, of sorted values.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
}

/// The op on some logits, and its definition in f64.
struct Scores {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  GateScores op{};

  Scores(Isa isa, const ConstTensor& logits, Activation activation, float scale = 1)
      : ctx(cpu_context(isa)) {
    const std::int64_t heads = logits.dim(1) * logits.dim(2);
    op = {.heads = memory.empty({heads + 1, GateScores::kStatistics}),
          .histogram = memory.empty({heads, GateScores::kBins}),
          .tokens = memory.empty({logits.dim(0)}),
          .logits = logits,
          .activation = activation,
          .scale = scale};
    run(*ctx, op);
  }
  std::vector<Tensor> results() const { return {op.heads, op.histogram, op.tokens}; }
  float statistic(std::int64_t head, GateScores::Statistic which) const {
    return op.heads.as<float>()[head * GateScores::kStatistics + which];
  }
  float bin(std::int64_t head, std::int64_t b) const {
    return op.histogram.as<float>()[head * GateScores::kBins + b];
  }
  double logit(std::int64_t t, std::int64_t head, std::int64_t e) const {
    const ConstTensor& x = op.logits;
    return x.as<float>()[t * x.stride(0) + head / x.dim(2) * x.stride(1) +
                         head % x.dim(2) * x.stride(2) + e * x.stride(3)];
  }

  void expect_statistics(std::int64_t head, std::vector<double> scores, double largest) const {
    const auto n = static_cast<double>(scores.size());
    const auto share = [&](auto&& in) {
      return static_cast<double>(std::ranges::count_if(scores, in)) / n;
    };
    double sum = 0;
    for (const double s : scores) sum += s;
    std::ranges::sort(scores);
    const std::array<double, GateScores::kStatistics> expected{
        sum / n,
        quantile(scores, 0.01),
        quantile(scores, 0.5),
        quantile(scores, 0.99),
        share([](double s) { return s < 0.05; }),
        share([](double s) { return s < 0.1; }),
        share([](double s) { return s < 0.5; }),
        share([](double s) { return s > 0.95; }),
        largest};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expect_measured(statistic(head, static_cast<GateScores::Statistic>(i)), expected[i],
                      fmt::format("statistic {} of head {}", i, head));
    }
  }

  void expect_definition() const {
    const ConstTensor& x = op.logits;
    const std::int64_t heads = x.dim(1) * x.dim(2);
    std::vector<double> all, tokens(static_cast<std::size_t>(x.dim(0)));
    double largest_of_all = 0;
    for (std::int64_t head = 0; head < heads; ++head) {
      std::vector<double> scores;
      std::vector<float> bins(GateScores::kBins);
      double largest = 0;
      for (std::int64_t t = 0; t < x.dim(0); ++t) {
        for (std::int64_t e = 0; e < x.dim(3); ++e) {
          largest = std::max(largest, std::abs(logit(t, head, e)));
          const double s = double{op.scale} * score_of(op.activation, logit(t, head, e));
          scores.push_back(s);
          tokens[static_cast<std::size_t>(t)] += s / static_cast<double>(heads * x.dim(3));
          ++bins[static_cast<std::size_t>(std::clamp(std::floor(s * 50), 0.0, 49.0))];
        }
      }
      expect_statistics(head, scores, largest);
      for (std::size_t b = 0; b < bins.size(); ++b) {
        EXPECT_EQ(bin(head, static_cast<std::int64_t>(b)), bins[b]) << "bin " << b;
      }
      all.insert(all.end(), scores.begin(), scores.end());
      largest_of_all = std::max(largest_of_all, largest);
    }
    expect_statistics(heads, all, largest_of_all);
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      expect_measured(op.tokens.as<float>()[t], tokens[t], fmt::format("token {}", t));
    }
  }
};

class GateScoresTest : public testing::TestWithParam<Isa> {
 protected:
  Tensors memory;
};
INSTANTIATE_TEST_SUITE_P(Isas, GateScoresTest, testing::ValuesIn(isas()));

TEST_P(GateScoresTest, FollowsTheDefinition) {
  for (const Activation activation : kActivations) {
    for (const Shape& shape : {Shape{1, 1, 1, 1}, Shape{300, 2, 3, 1}, Shape{7, 1, 2, 35},
                               Shape{130, 2, 2, 64}, Shape{101, 1, 1, 1}}) {
      const Tensor logits = memory.normal("logits", shape, DType::f32, 3, -1);
      SCOPED_TRACE(fmt::format("{} activation {}", shape.to_string(), int(activation)));
      Scores(GetParam(), logits, activation, activation == Activation::silu ? 0.4F : 1)
          .expect_definition();
    }
  }
}

TEST_P(GateScoresTest, FollowsTheDefinitionInAnyStrides) {
  constexpr std::int64_t kTokens = 33, kKv = 2, kG = 2, kE = 19;
  const Tensor wide = memory.normal("wide", {20000});
  const Shape shape{kTokens, kKv, kG, kE};
  const std::array<std::array<std::int64_t, 4>, 6> layouts{{{200, 90, 40, 1},    // gaps
                                                            {1, 700, 1400, 40},  // E far apart
                                                            {0, 38, 19, 1},  // one for all tokens
                                                            {19, 0, 0, 1},   // and for all heads
                                                            {4, 2, 1, 0},    // and elements
                                                            {0, 0, 0, 0}}};
  for (const auto& strides : layouts) {
    Scores(GetParam(), {wide.data(), DType::f32, shape, strides}, Activation::sigmoid)
        .expect_definition();
  }
}

TEST_P(GateScoresTest, QuantilesAreThoseOfNumpy) {
  const Tensor logits = memory.empty({4, 1, 1, 1});
  for (const int i : {0, 1, 2, 3})
    set(logits, i, std::array{4.0F, -1.0F, 2.0F, 3.0F}[std::size_t(i)]);
  const Scores scores(GetParam(), logits, Activation::identity);
  EXPECT_FLOAT_EQ(scores.statistic(0, GateScores::kQuantile01), -0.91F);
  EXPECT_FLOAT_EQ(scores.statistic(0, GateScores::kMedian), 2.5F);
  EXPECT_FLOAT_EQ(scores.statistic(1, GateScores::kQuantile99), 3.97F);
}

TEST_P(GateScoresTest, FindsQuantilesAmongEqualsAndOppositeSigns) {
  const Tensor logits = memory.empty({40, 1, 2, 50});
  for (std::int64_t i = 0; i < logits.numel(); ++i) {
    set(logits, i, i % 100 < 50 ? 0.25F : static_cast<float>(i % 7 - 3) * 1e-3F);
  }
  Scores(GetParam(), logits, Activation::identity).expect_definition();
}

TEST_P(GateScoresTest, BothZerosAreTheLowest) {
  const Tensor logits = memory.normal("logits", {30, 1, 2, 16});
  for (std::int64_t i = 0; i < logits.numel(); ++i) {
    set(logits, i, i % 3 == 0 ? -0.0F : i % 3 == 1 ? 0.0F : std::abs(get(logits, i)));
  }
  Scores(GetParam(), logits, Activation::identity).expect_definition();
}

TEST_P(GateScoresTest, SaturatesAtInfiniteLogits) {
  const Tensor logits = memory.zeros({8, 1, 1, 16});
  set(logits, 3, INFINITY);
  for (std::int64_t i = 10; i < 40; ++i) set(logits, i, -INFINITY);
  Scores(GetParam(), logits, Activation::sigmoid).expect_definition();
}

TEST_P(GateScoresTest, NaNShowsWhereItEnters) {
  const Tensor clean = memory.normal("logits", {20, 1, 3, 24});
  const Tensor spoilt = memory.copy(clean, DType::f32);
  set(spoilt, 2 * 72 + 24 + 5, NAN);  // token 2, head 1
  const Scores expected(GetParam(), clean, Activation::sigmoid),
      scores(GetParam(), spoilt, Activation::sigmoid);
  for (const std::int64_t head : {0, 2}) {
    EXPECT_TRUE(
        same_bits(scores.op.heads.rows(head, head + 1), expected.op.heads.rows(head, head + 1)));
  }
  for (const std::int64_t head : {1, 3}) {
    for (const auto which : {GateScores::kMean, GateScores::kQuantile01, GateScores::kMedian,
                             GateScores::kQuantile99, GateScores::kLargestLogit}) {
      EXPECT_TRUE(std::isnan(scores.statistic(head, which))) << head << " " << which;
    }
    EXPECT_NEAR(scores.statistic(head, GateScores::kShareBelow05), 0.5, 0.1);
  }
  float counted = 0;
  for (std::int64_t b = 0; b < GateScores::kBins; ++b) counted += scores.bin(1, b);
  EXPECT_EQ(counted, 20 * 24 - 1);
  for (std::int64_t t = 0; t < 20; ++t) {
    EXPECT_EQ(std::isnan(scores.op.tokens.as<float>()[t]), t == 2) << t;
  }
}

TEST_P(GateScoresTest, Bf16IsTheSameValuesInF32) {
  const Tensor narrow = memory.normal("logits", {50, 2, 2, 37}, DType::bf16);
  const Scores a(GetParam(), narrow, Activation::sigmoid),
      b(GetParam(), memory.copy(narrow, DType::f32), Activation::sigmoid);
  for (std::size_t i = 0; i < a.results().size(); ++i) {
    EXPECT_TRUE(same_bits(a.results()[i], b.results()[i])) << i;
  }
}

TEST_P(GateScoresTest, SameBitsForAnyThreadCount) {
  const Tensor logits = memory.normal("logits", {200, 2, 3, 40});
  std::vector<std::unique_ptr<Scores>> kept;
  expect_same_bits_for_any_thread_count([&] {
    kept.push_back(std::make_unique<Scores>(GetParam(), logits, Activation::sigmoid));
    return kept.back()->results();
  });
}

TEST_P(GateScoresTest, RunsInTheScratchThatAMetaRunMeasures) {
  const Tensor logits = memory.normal("logits", {90, 2, 2, 8});
  expect_measured_scratch_suffices(Scores(GetParam(), logits, Activation::sigmoid).op, GetParam());
}

TEST(GateScores, RejectsWrongOperands) {
  Tensors memory;
  Scores scores(Isa::avx2, memory.normal("logits", {5, 1, 2, 8}), Activation::sigmoid);
  GateScores op = scores.op;
  op.heads = memory.empty({2, GateScores::kStatistics});
  EXPECT_THROW(run(*scores.ctx, op), Error);
  op = scores.op;
  op.tokens = memory.empty({4});
  EXPECT_THROW(run(*scores.ctx, op), Error);
  op = scores.op;
  op.logits = memory.zeros({5, 1, 16});
  EXPECT_THROW(run(*scores.ctx, op), Error);
  op.logits = memory.zeros({0, 1, 2, 8});
  EXPECT_THROW(run(*scores.ctx, op), Error);
}

}  // namespace
}  // namespace hg::test
