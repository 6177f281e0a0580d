#include "ops/loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr float kScale = 0.25F, kZLoss = 1e-2F;

/// Some rows of logits, the last without a target.
struct Loss {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor logits, gradient, loss, lse, targets;

  Loss(Isa isa, std::int64_t rows, std::int64_t vocabulary, DType dtype, float spread = 2)
      : ctx(cpu_context(isa)) {
    logits = memory.normal("logits", {rows, vocabulary}, dtype, spread);
    gradient = memory.empty({rows, vocabulary}, dtype);
    loss = memory.empty({rows});
    lse = memory.empty({rows});
    std::vector<std::int32_t> ids;
    for (std::int64_t t = 0; t < rows; ++t) {
      ids.push_back(static_cast<std::int32_t>((t * 7919 + vocabulary - 1) % vocabulary));
    }
    ids.back() = -1;
    targets = memory.integers(ids);
  }
  /// Leaves `logits` as they are and the gradient in `gradient`.
  void run(bool backward = true) {
    std::memcpy(gradient.data(), logits.data(), static_cast<std::size_t>(logits.bytes()));
    hg::run(*ctx, CrossEntropy{.logits = gradient,
                               .loss = loss,
                               .lse = lse,
                               .targets = targets,
                               .z_loss = kZLoss,
                               .scale = kScale,
                               .backward = backward});
  }
  std::int32_t target(std::int64_t t) const { return targets.as<std::int32_t>()[t]; }
};

class LossTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, LossTest, testing::ValuesIn(isas()));

TEST_P(LossTest, BackwardAgreesWithFiniteDifferences) {
  Loss op(GetParam(), 4, 37, DType::f32, 1);
  op.run();
  const Tensor gradient = op.memory.copy(op.gradient, DType::f32), square = op.memory.empty({4}),
               weight = op.memory.empty({4}), z_weight = op.memory.empty({4});
  for (std::int64_t t = 0; t < 4; ++t) {
    set(weight, t, kScale);
    set(z_weight, t, kScale * kZLoss);
  }
  expect_gradients({.forward =
                        [&] {
                          op.run(false);
                          for (std::int64_t t = 0; t < 4; ++t) {
                            set(square, t, get(op.lse, t) * get(op.lse, t));
                          }
                        },
                    .outputs = {{op.loss, weight}, {square, z_weight}},
                    .inputs = {{"logits", op.logits, gradient}}});
}

TEST_P(LossTest, AgreesWithDoublePrecision) {
  for (const std::int64_t vocabulary : {1, 5, 16, 128, 131, 256, 1000, 4096 + 77}) {
    Loss op(GetParam(), 6, vocabulary, DType::f32, 5);
    op.run();
    const Tensor expected = op.memory.zeros(op.logits.shape());
    for (std::int64_t t = 0; t < 5; ++t) {
      const auto x = [&](std::int64_t v) { return double{get(op.logits, t * vocabulary + v)}; };
      double sum = 0;
      for (std::int64_t v = 0; v < vocabulary; ++v) sum += std::exp(x(v));
      const double z = std::log(sum);
      EXPECT_NEAR(get(op.lse, t), z, 1e-6 * (1 + std::abs(z))) << vocabulary;
      EXPECT_NEAR(get(op.loss, t), z - x(op.target(t)), 1e-6 * (1 + std::abs(x(op.target(t)))));
      for (std::int64_t v = 0; v < vocabulary; ++v) {
        const double hot = v == op.target(t) ? 1 : 0;
        set(expected, t * vocabulary + v,
            static_cast<float>(kScale * (std::exp(x(v) - z) * (1 + 2 * kZLoss * z) - hot)));
      }
    }
    EXPECT_LT(relative_error(op.gradient, expected), kReordered) << vocabulary;
  }
}

TEST_P(LossTest, RowsWithoutATargetCountNothing) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Loss op(GetParam(), 3, 70, dtype);
    set(op.logits, 2 * 70 + 5, std::numeric_limits<float>::quiet_NaN());
    op.run();
    EXPECT_EQ(get(op.loss, 2), 0);
    EXPECT_EQ(get(op.lse, 2), 0);
    for (std::int64_t v = 0; v < 70; ++v) EXPECT_EQ(get(op.gradient, 2 * 70 + v), 0);
    EXPECT_NE(get(op.loss, 1), 0);
  }
}

TEST_P(LossTest, WithoutBackwardTheLogitsStay) {
  Loss op(GetParam(), 3, 70, DType::bf16);
  op.run(false);
  EXPECT_TRUE(same_bits(op.gradient, op.logits));
}

TEST_P(LossTest, Bf16AgreesWithF32) {
  Loss narrow(GetParam(), 40, 300, DType::bf16), wide(GetParam(), 40, 300, DType::f32);
  narrow.run();
  wide.run();
  EXPECT_LT(relative_error(narrow.loss, wide.loss), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.lse, wide.lse), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.gradient, wide.gradient), rounding(DType::bf16));
}

TEST_P(LossTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  Loss one(GetParam(), 300, 515, DType::f32), two(GetParam(), 300, 515, DType::f32);
  set_num_threads(1);
  one.run();
  set_num_threads(2);
  two.run();
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.loss, two.loss));
  EXPECT_TRUE(same_bits(one.lse, two.lse));
  EXPECT_TRUE(same_bits(one.gradient, two.gradient));
}

TEST_P(LossTest, LargeLogitsStayFinite) {
  Loss op(GetParam(), 4, 200, DType::f32);
  for (std::int64_t i = 0; i < op.logits.numel(); ++i) set(op.logits, i, i % 3 == 0 ? 1e4F : -1e4F);
  op.run();
  for (std::int64_t t = 0; t < 3; ++t) {
    const bool high = (t * 200 + op.target(t)) % 3 == 0;
    EXPECT_NEAR(get(op.loss, t), high ? std::log(67) : 2e4, high ? 0.02 : 5) << t;
    EXPECT_NEAR(get(op.lse, t), 1e4, 5);
  }
  for (std::int64_t i = 0; i < op.logits.numel(); ++i)
    EXPECT_TRUE(std::isfinite(get(op.gradient, i)));
}

// A model that has gone wrong must show in the loss, wherever in a row it happens.
TEST_P(LossTest, NanAndInfinityShow) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const std::int64_t place : {0, 7, 130, 255, 256, 287, 299}) {
        Loss op(GetParam(), 3, 300, dtype);
        set(op.logits, 300 + place, bad);
        op.run();
        EXPECT_TRUE(std::isnan(get(op.loss, 1))) << place;
        EXPECT_TRUE(std::isfinite(get(op.loss, 0)));
      }
    }
  }
}

TEST_P(LossTest, MinusInfinityIsAnImpossibleToken) {
  Loss op(GetParam(), 2, 50, DType::f32), without(GetParam(), 2, 49, DType::f32);
  for (std::int64_t v = 0; v < 49; ++v) set(op.logits, v, get(without.logits, v));
  set(op.logits, 49, -std::numeric_limits<float>::infinity());
  op.targets.as<std::int32_t>()[0] = without.targets.as<std::int32_t>()[0] = 3;
  op.run();
  without.run();
  EXPECT_NEAR(get(op.loss, 0), get(without.loss, 0), 1e-6);
  EXPECT_EQ(get(op.gradient, 49), 0);
}

TEST(Loss, RejectsWrongOperands) {
  Loss op(Isa::avx2, 3, 20, DType::f32);
  op.targets.as<std::int32_t>()[1] = 20;
  EXPECT_THROW(op.run(), Error);
  op.targets = op.memory.integers({1, 2});
  EXPECT_THROW(op.run(), Error);
}

}  // namespace
}  // namespace hg::test
