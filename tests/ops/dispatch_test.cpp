#include "ops/dispatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/expert_plan.h"
#include "support/op_checks.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

/// Tokens on their way to experts and back, and the weights of their choices.
struct Dispatch {
  Plan plan;
  Tensors memory;
  Tensor x, dx, permuted, dpermuted, y, dy, base;
  Tensor weights, dweights, row_weights, drow_weights;

  Dispatch(Isa isa, std::int64_t tokens, std::int64_t h, DType dtype, std::int64_t capacity,
           std::int64_t k = 3)
      : plan(isa, random_choices(tokens, k, 7), k, 7, capacity) {
    plan.make();
    x = memory.normal("x", {tokens, h}, dtype);
    dx = memory.empty(x.shape(), dtype);
    permuted = memory.zeros({tokens * k, h}, dtype);
    dpermuted = memory.zeros(permuted.shape(), dtype);
    y = memory.empty(x.shape(), dtype);
    dy = memory.normal("dy", x.shape(), dtype);
    base = memory.normal("base", x.shape(), dtype);
    weights = memory.normal("weights", {tokens, k});
    dweights = memory.empty(weights.shape());
    row_weights = memory.zeros({tokens * k});
    drow_weights = memory.normal("drow_weights", row_weights.shape());
  }
  std::int64_t tokens() const { return plan.rows.dim(0); }
  std::int64_t k() const { return plan.rows.dim(1); }
  std::int32_t row(std::int64_t choice) const { return plan.rows.as<std::int32_t>()[choice]; }
  std::int64_t kept() const { return plan.offsets.as<std::int32_t>()[7]; }

  void permute(const Tensor& to, const ConstTensor& from) const {
    run(*plan.ctx, Permute{.y = to, .x = from, .rows = plan.rows});
  }
  void unpermute(const Tensor& to, const ConstTensor& from, const ConstTensor& onto) const {
    run(*plan.ctx, Unpermute{.y = to, .x = from, .base = onto, .rows = plan.rows});
  }
  void permute_weights() const {
    run(*plan.ctx, PermuteWeights{.y = row_weights, .x = weights, .rows = plan.rows});
  }
  void unpermute_weights() const {
    run(*plan.ctx, UnpermuteWeights{.y = dweights, .x = drow_weights, .rows = plan.rows});
  }
  /// There and back again; experts do nothing.
  void forward() const { permute(permuted, x), unpermute(y, permuted, base); }
  void backward() const { permute(dpermuted, dy), unpermute(dx, dpermuted, {}); }
};

/// a . b in double.
double dot(const ConstTensor& a, const ConstTensor& b) {
  double sum = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) sum += double{get(a, i)} * double{get(b, i)};
  return sum;
}

class DispatchTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, DispatchTest, testing::ValuesIn(isas()));

TEST_P(DispatchTest, PermutedRowsAreTheirTokens) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Dispatch d(GetParam(), 40, 19, dtype, 9);
    d.permute(d.permuted, d.x);
    d.permute_weights();
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < 40 * 3; ++i) {
      const std::int32_t row = d.row(i);
      if (row < 0) continue;
      ++kept;
      EXPECT_TRUE(same_bits(d.permuted.rows(row, row + 1), d.x.rows(i / 3, i / 3 + 1)));
      EXPECT_EQ(get(d.row_weights, row), get(d.weights, i));
    }
    EXPECT_EQ(kept, d.kept());
    EXPECT_LT(kept, 40 * 3);
    for (std::int64_t row = kept; row < 40 * 3; ++row) {
      EXPECT_EQ(get(d.row_weights, row), 0);
      for (std::int64_t i = 0; i < 19; ++i) EXPECT_EQ(get(d.permuted, row * 19 + i), 0);
    }
  }
}

TEST_P(DispatchTest, UnpermuteSumsTheRowsOfATokenInOrder) {
  for (const std::int64_t capacity : {0, 4}) {
    for (const std::int64_t k : {1, 2, 3, 4, 7}) {
      for (const bool with_base : {false, true}) {
        const Dispatch d(GetParam(), 20, 37, DType::f32, capacity, k);
        Tensors memory;
        const Tensor rows = memory.normal("rows", d.permuted.shape());
        d.unpermute(d.y, rows, with_base ? ConstTensor(d.base) : ConstTensor());
        for (std::int64_t i = 0; i < d.y.numel(); ++i) {
          float sum = with_base ? get(d.base, i) : 0;
          for (std::int64_t choice = i / 37 * k; choice < (i / 37 + 1) * k; ++choice) {
            if (d.row(choice) >= 0) sum += get(rows, d.row(choice) * 37 + i % 37);
          }
          EXPECT_EQ(get(d.y, i), sum) << i;
        }
      }
    }
  }
}

TEST_P(DispatchTest, UnpermuteMayAddToItsOutput) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Dispatch d(GetParam(), 40, 37, dtype, 9);
    d.forward();
    d.unpermute(d.base, d.permuted, d.base);
    EXPECT_TRUE(same_bits(d.base, d.y));
  }
}

TEST_P(DispatchTest, UnpermuteLeavesTokensOfNobodyAsTheyAre) {
  const Dispatch d(GetParam(), 40, 37, DType::f32, 9);
  d.forward();
  Tensors memory;
  const Tensor y = memory.normal("y", d.y.shape()), before = memory.normal("y", d.y.shape());
  run(*d.plan.ctx, Unpermute{.y = y,
                             .x = d.permuted,
                             .base = d.base,
                             .rows = d.plan.rows,
                             .used = memory.integers({17})});
  EXPECT_TRUE(same_bits(y.rows(0, 17), d.y.rows(0, 17)));
  EXPECT_TRUE(same_bits(y.rows(17, 40), before.rows(17, 40)));
}

TEST_P(DispatchTest, RowsOfNobodyMayHoldAnything) {
  const Dispatch d(GetParam(), 20, 19, DType::f32, 1);
  for (std::int64_t i = d.kept() * 19; i < d.permuted.numel(); ++i) set(d.permuted, i, NAN);
  for (std::int64_t i = d.kept(); i < 20 * 3; ++i) set(d.drow_weights, i, NAN);
  d.forward();
  d.unpermute_weights();
  for (std::int64_t t = 0; t < 20; ++t) {
    float rows = 0;
    for (std::int64_t choice = t * 3; choice < t * 3 + 3; ++choice) {
      const bool dropped = d.row(choice) < 0;
      rows += dropped ? 0.0F : 1.0F;
      EXPECT_EQ(get(d.dweights, choice), dropped ? 0 : get(d.drow_weights, d.row(choice)));
    }
    for (std::int64_t i = t * 19; i < t * 19 + 19; ++i) {
      expect_measured(get(d.y, i), double{get(d.base, i) + rows * get(d.x, i)}, "y");
    }
  }
}

TEST_P(DispatchTest, EachIsTheTransposeOfTheOther) {
  for (const std::int64_t capacity : {0, 2}) {
    for (const std::int64_t k : {1, 3, 7}) {
      const Dispatch d(GetParam(), 6, 19, DType::f32, capacity, k);
      Tensors memory;
      const Tensor rows = memory.normal("rows", d.permuted.shape());
      d.permute(d.permuted, d.x);  // zeros in rows of nobody
      d.unpermute(d.y, rows, {});
      expect_measured(static_cast<float>(dot(d.permuted, rows)), dot(d.x, d.y), "tokens");
      d.permute_weights();
      d.unpermute_weights();
      expect_measured(static_cast<float>(dot(d.row_weights, d.drow_weights)),
                      dot(d.weights, d.dweights), "weights");
    }
  }
}

TEST_P(DispatchTest, BackwardAgreesWithFiniteDifferences) {
  for (const std::int64_t capacity : {0, 2}) {
    for (const std::int64_t k : {1, 3, 7}) {
      const Dispatch d(GetParam(), 6, 19, DType::f32, capacity, k);
      d.forward();
      d.backward();
      d.permute_weights();
      d.unpermute_weights();
      expect_gradients({.forward = [&] { d.forward(); },
                        .outputs = {{d.y, d.dy}},
                        .inputs = {{"x", d.x, d.dx}, {"base", d.base, d.dy}}});
      expect_gradients({.forward = [&] { d.unpermute(d.y, d.permuted, d.base); },
                        .outputs = {{d.y, d.dy}},
                        .inputs = {{"permuted x", d.permuted, d.dpermuted}}});
      expect_gradients({.forward = [&] { d.permute_weights(); },
                        .outputs = {{d.row_weights, d.drow_weights}},
                        .inputs = {{"weights", d.weights, d.dweights}}});
    }
  }
}

TEST_P(DispatchTest, Bf16AgreesWithF32) {
  const Dispatch narrow(GetParam(), 70, 48, DType::bf16, 0),
      wide(GetParam(), 70, 48, DType::f32, 0);
  for (const Dispatch* d : {&narrow, &wide}) d->forward(), d->backward();
  EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dx, wide.dx), rounding(DType::bf16));
}

TEST_P(DispatchTest, SameBitsForAnyThreadCount) {
  std::vector<std::shared_ptr<Dispatch>> runs;
  expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
    const auto& d =
        runs.emplace_back(std::make_shared<Dispatch>(GetParam(), 300, 40, DType::bf16, 100));
    d->forward();
    d->backward();
    d->permute_weights();
    d->unpermute_weights();
    return {d->permuted, d->y, d->dpermuted, d->dx, d->row_weights, d->dweights};
  });
}

TEST(Dispatch, RejectsWrongOperands) {
  Dispatch d(Isa::avx2, 6, 16, DType::f32, 0);
  auto* rows = d.plan.rows.as<std::int32_t>();
  rows[4] = 18;
  const auto sentence = [&](const std::string& op, int row) {
    return HasSubstr(fmt::format("{}: rows[4] is {}, expected a value in [-1, 18)", op, row));
  };
  EXPECT_THAT(error_of([&] { d.permute(d.permuted, d.x); }), sentence("permute", 18));
  EXPECT_THAT(error_of([&] { d.permute_weights(); }), sentence("permute_weights", 18));
  rows[4] = -2;
  EXPECT_THAT(error_of([&] { d.unpermute(d.y, d.permuted, {}); }), sentence("unpermute", -2));
  EXPECT_THAT(error_of([&] { d.unpermute_weights(); }), sentence("unpermute_weights", -2));
  rows[4] = 0;
  EXPECT_THROW(d.unpermute(d.y, d.permuted, d.base.rows(0, 5)), Error);
  d.permuted = d.permuted.rows(0, 17);
  EXPECT_THAT(error_of([&] { d.permute(d.permuted, d.x); }), HasSubstr("[-1, 17)"));
  d.weights = d.memory.normal("w", {6, 2});
  EXPECT_THROW(d.permute_weights(), Error);
}

}  // namespace
}  // namespace hg::test
