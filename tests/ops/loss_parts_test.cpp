// CrossEntropy cut in two for ranks that share the vocabulary, against CrossEntropy in one.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/loss.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

constexpr float kScale = 0.25F, kZLoss = 1e-2F, kInfinity = std::numeric_limits<float>::infinity(),
                kNan = std::numeric_limits<float>::quiet_NaN();

/// Losses and the gradient of the whole logits.
struct Results {
  Tensor loss, lse, gradient;
};

/// Rows of logits with targets all over the vocabulary, every fifth row without one.
struct SharedLoss {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor logits, targets;

  SharedLoss(Isa isa, std::int64_t rows, std::int64_t vocabulary, DType dtype, float spread = 2)
      : ctx(cpu_context(isa)) {
    logits = memory.normal("logits", {rows, vocabulary}, dtype, spread);
    std::vector<std::int32_t> ids;
    for (std::int64_t t = 0; t < rows; ++t) {
      ids.push_back(t % 5 == 4 ? -1 : static_cast<std::int32_t>(t * 7919 % vocabulary));
    }
    targets = memory.integers(ids);
  }
  std::int64_t rows() const { return logits.dim(0); }
  std::int64_t vocabulary() const { return logits.dim(1); }
  std::int32_t& target(std::int64_t t) const { return targets.as<std::int32_t>()[t]; }
  /// Columns [begin, end) as a tensor of their own.
  Tensor columns(std::int64_t begin, std::int64_t end) {
    const Tensor part = memory.empty({rows(), end - begin}, logits.dtype());
    for (std::int64_t i = 0; i < part.numel(); ++i) {
      const std::int64_t t = i / part.dim(1), v = begin + i % part.dim(1);
      set(part, i, get(logits, t * vocabulary() + v));
    }
    return part;
  }
  Results whole() {
    const Results r{.loss = memory.empty({rows()}),
                    .lse = memory.empty({rows()}),
                    .gradient = columns(0, vocabulary())};
    run(*ctx, CrossEntropy{.logits = r.gradient,
                           .loss = r.loss,
                           .lse = r.lse,
                           .targets = targets,
                           .z_loss = kZLoss,
                           .scale = kScale,
                           .backward = true});
    return r;
  }
  /// What all ranks gather, and the logits of each.
  Tensor parts(const std::vector<std::int64_t>& cuts, std::vector<Tensor>& shards) {
    const auto ranks = static_cast<std::int64_t>(cuts.size()) - 1;
    const Tensor all = memory.empty({ranks, rows(), CrossEntropyPart::kParts});
    for (std::size_t rank = 0; rank + 1 < cuts.size(); ++rank) {
      shards.push_back(columns(cuts[rank], cuts[rank + 1]));
      const auto index = static_cast<std::int64_t>(rank);
      run(*ctx, CrossEntropyPart{
                    .part = all.rows(index, index + 1).view({rows(), CrossEntropyPart::kParts}),
                    .logits = shards[rank],
                    .targets = targets,
                    .first = cuts[rank]});
    }
    return all;
  }
  /// The results of ranks that hold columns [cuts[i], cuts[i + 1]); every rank must find the same
  /// losses. Without `backward` the gradient is what is left of the logits.
  Results joined(const std::vector<std::int64_t>& cuts, bool backward = true) {
    std::vector<Tensor> shards;
    const Tensor all = parts(cuts, shards);
    Results r{.loss = {}, .lse = {}, .gradient = memory.empty(logits.shape(), logits.dtype())};
    for (std::size_t rank = 0; rank < shards.size(); ++rank) {
      const Tensor loss = memory.empty({rows()}), lse = memory.empty({rows()});
      run(*ctx, CrossEntropyJoin{.logits = shards[rank],
                                 .loss = loss,
                                 .lse = lse,
                                 .parts = all,
                                 .targets = targets,
                                 .first = cuts[rank],
                                 .z_loss = kZLoss,
                                 .scale = kScale,
                                 .backward = backward});
      if (rank > 0) {
        EXPECT_TRUE(same_bits(loss, r.loss) && same_bits(lse, r.lse)) << rank;
      }
      r.loss = loss;
      r.lse = lse;
      const std::int64_t width = shards[rank].dim(1);
      for (std::int64_t i = 0; i < shards[rank].numel(); ++i) {
        set(r.gradient, i / width * vocabulary() + cuts[rank] + i % width, get(shards[rank], i));
      }
    }
    return r;
  }
  void expect_the_whole(const std::vector<std::int64_t>& cuts) {
    const Results expected = whole(), found = joined(cuts);
    EXPECT_LT(relative_error(found.loss, expected.loss), kReordered);
    EXPECT_LT(relative_error(found.lse, expected.lse), kReordered);
    // In bf16, a value that differs in its last bit of f32 may round the other way.
    EXPECT_LT(relative_error(found.gradient, expected.gradient),
              logits.dtype() == DType::bf16 ? rounding(DType::bf16) : kReordered);
    for (std::int64_t t = 0; t < rows(); ++t) {
      if (target(t) >= 0) continue;
      EXPECT_TRUE(get(found.loss, t) == 0 && get(found.lse, t) == 0) << t;
      for (std::int64_t v = 0; v < vocabulary(); ++v) {
        EXPECT_EQ(get(found.gradient, t * vocabulary() + v), 0);
      }
    }
  }
};

class LossPartsTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, LossPartsTest, testing::ValuesIn(isas()));

TEST_P(LossPartsTest, OneRankIsCrossEntropy) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t vocabulary : {1, 17, 300}) {
      SharedLoss op(GetParam(), 11, vocabulary, dtype);
      const Results expected = op.whole(), found = op.joined({0, vocabulary});
      EXPECT_TRUE(same_bits(found.loss, expected.loss)) << vocabulary;
      EXPECT_TRUE(same_bits(found.lse, expected.lse)) << vocabulary;
      EXPECT_TRUE(same_bits(found.gradient, expected.gradient)) << vocabulary;
    }
  }
}

TEST_P(LossPartsTest, PartsEqualTheWhole) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t vocabulary : {7, 64, 301, 1999}) {
      SharedLoss op(GetParam(), 24, vocabulary, dtype, 4);
      op.expect_the_whole({0, vocabulary / 2, vocabulary});
      op.expect_the_whole({0, vocabulary / 3, 2 * vocabulary / 3, vocabulary});
      op.expect_the_whole({0, 1, vocabulary / 2, vocabulary - 1, vocabulary});
    }
  }
}

TEST_P(LossPartsTest, TargetsAtTheEdgesOfEachPart) {
  SharedLoss op(GetParam(), 6, 100, DType::f32);
  std::int64_t row = 0;
  for (const std::int32_t token : {0, 32, 33, 65, 66, 99}) op.target(row++) = token;
  const std::vector<std::int64_t> cuts{0, 33, 66, 100};
  op.expect_the_whole(cuts);
  const Results found = op.joined(cuts);
  for (std::int64_t i = 0; i < 600; ++i) {  // only the target's gradient is negative
    EXPECT_EQ(get(found.gradient, i) < 0, i % 100 == op.target(i / 100)) << i;
  }
}

TEST_P(LossPartsTest, LargeAndSmallLogits) {
  // A part may lie so far below the others that it adds nothing, or all may be far from 0.
  for (const float low : {-3e38F, -1e4F, -50.0F}) {
    for (const float high : {-40.0F, 1e4F, 3e38F}) {
      for (const int high_rank : {0, 1, 2}) {
        SharedLoss op(GetParam(), 9, 99, DType::f32);
        for (std::int64_t i = 0; i < op.logits.numel(); ++i) {
          set(op.logits, i, i % 99 / 33 == high_rank ? high : low);
        }
        for (const int t : {0, 1, 2}) op.target(t) = 33 * high_rank + t;
        const Results expected = op.whole(), found = op.joined({0, 33, 66, 99});
        const auto expect_same = [&](const Tensor& a, const Tensor& b) {
          for (std::int64_t i = 0; i < a.numel(); ++i) {
            EXPECT_FLOAT_EQ(get(a, i), get(b, i)) << low << " " << high << " " << i;
          }
        };
        expect_same(found.loss, expected.loss);
        expect_same(found.lse, expected.lse);
        expect_same(found.gradient, expected.gradient);
      }
    }
  }
}

TEST_P(LossPartsTest, MinusInfinityIsAnImpossibleToken) {
  SharedLoss op(GetParam(), 9, 99, DType::f32);
  for (std::int64_t v : {0, 40, 66, 67, 98}) {
    for (std::int64_t t = 0; t < 9; ++t) set(op.logits, t * 99 + v, -kInfinity);
  }
  for (std::int64_t v = 0; v < 33; ++v) set(op.logits, v, -kInfinity);  // all that a rank has
  for (int t = 0; t < 9; ++t) op.target(t) = 41 + t;
  op.expect_the_whole({0, 33, 66, 99});
  const Results found = op.joined({0, 33, 66, 99});
  for (std::int64_t v = 0; v < 33; ++v) EXPECT_EQ(get(found.gradient, v), 0);
  op.target(0) = 5;
  EXPECT_EQ(get(op.whole().loss, 0), kInfinity);
  EXPECT_EQ(get(op.joined({0, 33, 66, 99}).loss, 0), kInfinity);
}

// On every rank, wherever in the row, and in no other row.
TEST_P(LossPartsTest, NanAndInfinityShow) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const float bad : {kNan, kInfinity}) {
      for (const std::int64_t place : {0, 7, 130, 299, 300, 555, 599, 600, 899}) {
        SharedLoss op(GetParam(), 3, 900, dtype);
        set(op.logits, 900 + place, bad);
        const Results found = op.joined({0, 300, 600, 900});
        EXPECT_TRUE(std::isnan(get(found.loss, 1))) << place;
        for (std::int64_t v = 0; v < 900; ++v) {
          EXPECT_TRUE(std::isnan(get(found.gradient, 900 + v))) << place << " " << v;
          EXPECT_TRUE(std::isfinite(get(found.gradient, v)));
        }
        EXPECT_TRUE(std::isfinite(get(found.loss, 0)));
      }
    }
  }
}

TEST_P(LossPartsTest, RowsWithoutATargetIgnoreTheirLogits) {
  SharedLoss op(GetParam(), 9, 99, DType::bf16);
  for (const std::int64_t v : {0, 50, 98}) set(op.logits, 4 * 99 + v, kNan);
  op.expect_the_whole({0, 33, 66, 99});
}

TEST_P(LossPartsTest, WithoutBackwardTheLogitsStay) {
  SharedLoss op(GetParam(), 9, 99, DType::bf16);
  const Results forward = op.joined({0, 33, 99}, false), both = op.joined({0, 33, 99});
  EXPECT_TRUE(same_bits(forward.gradient, op.logits));
  EXPECT_TRUE(same_bits(forward.loss, both.loss));
  EXPECT_TRUE(same_bits(forward.lse, both.lse));
}

TEST_P(LossPartsTest, GradientAgreesWithFiniteDifferences) {
  SharedLoss op(GetParam(), 5, 37, DType::f32, 1);
  const std::vector<std::int64_t> cuts{0, 11, 20, 37};
  const Tensor gradient = op.joined(cuts).gradient, loss = op.memory.empty({5}),
               square = op.memory.empty({5}),
               weight = op.memory.normal("constant", {5}, DType::f32, 0, kScale),
               z_weight = op.memory.normal("constant", {5}, DType::f32, 0, kScale * kZLoss);
  expect_gradients({.forward =
                        [&] {
                          const Results now = op.joined(cuts, false);
                          for (std::int64_t t = 0; t < 5; ++t) {
                            set(loss, t, get(now.loss, t));
                            set(square, t, get(now.lse, t) * get(now.lse, t));
                          }
                        },
                    .outputs = {{loss, weight}, {square, z_weight}},
                    .inputs = {{"logits", op.logits, gradient}}});
}

TEST_P(LossPartsTest, SameBitsForAnyThreadCount) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    SharedLoss op(GetParam(), 400, 515, dtype);
    expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
      const Results r = op.joined({0, 130, 515});
      return {r.loss, r.lse, r.gradient};
    });
  }
}

TEST(LossParts, RejectWrongOperands) {
  SharedLoss op(Isa::avx2, 3, 20, DType::f32);
  const Tensor loss = op.memory.empty({3});
  const CrossEntropyPart part{.part = op.memory.empty({3, CrossEntropyPart::kParts}),
                              .logits = op.logits,
                              .targets = op.targets,
                              .first = 0};
  const CrossEntropyJoin join{.logits = op.logits,
                              .loss = loss,
                              .lse = loss,
                              .parts = op.memory.zeros({2, 3, CrossEntropyPart::kParts}),
                              .targets = op.targets,
                              .first = 0,
                              .z_loss = kZLoss,
                              .scale = kScale,
                              .backward = false};
  EXPECT_NO_THROW(run(*op.ctx, part));
  EXPECT_NO_THROW(run(*op.ctx, join));
  const auto expect_rejected = [&](auto wrong, auto&& spoil) {
    spoil(wrong);
    EXPECT_THROW(run(*op.ctx, wrong), Error);
  };
  expect_rejected(part, [&](auto& x) { x.part = op.memory.empty({3, 2}); });
  expect_rejected(part, [&](auto& x) { x.targets = op.memory.integers({1, 2}); });
  expect_rejected(part, [&](auto& x) { x.first = -1; });
  expect_rejected(join, [&](auto& x) { x.parts = op.memory.zeros({2, 4, 3}); });
  expect_rejected(join, [&](auto& x) { x.targets = op.memory.integers({1, 2}); });
  expect_rejected(join, [&](auto& x) { x.lse = op.memory.empty({4}); });
  expect_rejected(join, [&](auto& x) { x.first = -1; });
}

}  // namespace
}  // namespace hg::test
