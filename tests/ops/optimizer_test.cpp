#include "ops/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "support/compare.h"
#include "support/paths.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Optimizer {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor master, m, v, working, gradient;
  AdamW op;

  Optimizer(Isa isa, std::int64_t n) : ctx(cpu_context(isa)) {
    master = memory.normal("master", {n});
    m = memory.normal("m", {n}, DType::f32, 0.1F);
    v = memory.normal("v", {n}, DType::f32, 0.1F);
    for (std::int64_t i = 0; i < n; ++i) set(v, i, get(v, i) * get(v, i));
    working = memory.empty({n}, DType::bf16);
    gradient = memory.normal("gradient", {n});
    op = {.master = master,
          .m = m,
          .v = v,
          .working = working,
          .gradient = gradient,
          .lr = 1e-2,
          .beta1 = 0.9,
          .beta2 = 0.999,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .gradient_scale = 0.5F,
          .step = 7};
  }
};

class OptimizerTest : public testing::TestWithParam<Isa> {
 protected:
  Tensors memory;
  std::unique_ptr<Context> ctx = cpu_context(GetParam());

  float sum_of_squares(const Tensor& x) {
    const Tensor out = memory.empty({1});
    run(*ctx, SumOfSquares{.out = out, .x = x});
    return get(out, 0);
  }
};
INSTANTIATE_TEST_SUITE_P(Isas, OptimizerTest, testing::ValuesIn(isas()));

TEST_P(OptimizerTest, AdamWAgreesWithPyTorch) {
  std::ifstream file(source_path("tests/golden/adamw.json"));
  const auto golden = nlohmann::json::parse(file);
  const auto tensor = [&](const nlohmann::json& values) {
    const Tensor t = memory.empty({static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i) set(t, static_cast<std::int64_t>(i), values[i]);
    return t;
  };
  const Tensor master = tensor(golden["start"]);
  const Tensor m = memory.zeros(master.shape()), v = memory.zeros(master.shape());
  std::int64_t step = 0;
  for (const auto& expected : golden["steps"]) {
    run(*ctx, AdamW{.master = master,
                    .m = m,
                    .v = v,
                    .working = {},
                    .gradient = tensor(expected["gradient"]),
                    .lr = golden["lr"],
                    .beta1 = golden["beta1"],
                    .beta2 = golden["beta2"],
                    .eps = golden["eps"],
                    .weight_decay = golden["weight_decay"],
                    .gradient_scale = 1,
                    .step = ++step});
    EXPECT_LT(relative_error(master, tensor(expected["master"])), rounding(DType::f32));
    EXPECT_LT(relative_error(m, tensor(expected["m"])), rounding(DType::f32));
    EXPECT_LT(relative_error(v, tensor(expected["v"])), rounding(DType::f32));
    // Each element too: the smallest gradients and the one without any, where eps and decay show.
    for (std::int64_t i = 0; i < master.numel(); ++i) {
      const float exact = expected["master"][static_cast<std::size_t>(i)];
      EXPECT_NEAR(get(master, i), exact, std::abs(exact) * 1e-6F + 1e-8F) << i;
    }
  }
  EXPECT_EQ(step, 3);
}

TEST_P(OptimizerTest, AdamWAgreesWithTheFormulaInF64) {
  for (const std::int64_t n : {1, 7, 16, 8192, 20011}) {
    Optimizer o(GetParam(), n);
    const Tensor master = o.memory.empty({n}), m = o.memory.empty({n}), v = o.memory.empty({n});
    const AdamW& op = o.op;
    const double c1 = 1 - std::pow(op.beta1, op.step), c2 = 1 - std::pow(op.beta2, op.step);
    for (std::int64_t i = 0; i < n; ++i) {
      const double g = double{op.gradient_scale} * double{get(o.gradient, i)}, w = get(o.master, i);
      const double m_new = op.beta1 * double{get(o.m, i)} + (1 - op.beta1) * g;
      const double v_new = op.beta2 * double{get(o.v, i)} + (1 - op.beta2) * g * g;
      const double update = op.weight_decay * w + (m_new / c1) / (std::sqrt(v_new / c2) + op.eps);
      set(m, i, static_cast<float>(m_new));
      set(v, i, static_cast<float>(v_new));
      set(master, i, static_cast<float>(w - op.lr * update));
    }
    run(*o.ctx, op);
    EXPECT_LT(relative_error(o.master, master), rounding(DType::f32)) << n;
    EXPECT_LT(relative_error(o.m, m), rounding(DType::f32)) << n;
    EXPECT_LT(relative_error(o.v, v), rounding(DType::f32)) << n;
    EXPECT_TRUE(same_bits(o.working, o.memory.copy(o.master, DType::bf16))) << n;
  }
}

TEST_P(OptimizerTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  Optimizer one(GetParam(), 50021), two(GetParam(), 50021);
  set_num_threads(1);
  run(*one.ctx, one.op);
  const float sum_one = sum_of_squares(one.gradient);
  set_num_threads(2);
  run(*two.ctx, two.op);
  const float sum_two = sum_of_squares(two.gradient);
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.master, two.master));
  EXPECT_TRUE(same_bits(one.m, two.m));
  EXPECT_TRUE(same_bits(one.v, two.v));
  EXPECT_TRUE(same_bits(one.working, two.working));
  EXPECT_EQ(sum_one, sum_two);
}

TEST_P(OptimizerTest, SumOfSquaresIsTheRoundedF64Sum) {
  for (const std::int64_t n : {1, 5, 17, 8191, 8193, 300007}) {
    const Tensor x = memory.normal("x", {n});
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += double{get(x, i)} * double{get(x, i)};
    EXPECT_FLOAT_EQ(sum_of_squares(x), static_cast<float>(sum)) << n;
  }
}

TEST_P(OptimizerTest, SumOfSquaresKeepsWhatF32WouldLose) {
  const Tensor x = memory.empty({100000});
  for (std::int64_t i = 0; i < x.numel(); ++i) set(x, i, i == 0 ? 1e4F : 1e-2F);
  EXPECT_FLOAT_EQ(sum_of_squares(x),
                  100000010.0F);  // f32 sums stay at 1e8: 1e-4 is below its last place
  set(x, 0, 3e38F);
  set(x, 1, 1e-30F);
  EXPECT_EQ(sum_of_squares(x), kInfinity);  // beyond f32
}

TEST_P(OptimizerTest, SumOfSquaresShowsNaNAndInfinity) {
  const Tensor x = memory.normal("x", {20000});
  set(x, 12345, -kInfinity);
  EXPECT_EQ(sum_of_squares(x), kInfinity);
  set(x, 19999, kNaN);
  EXPECT_TRUE(std::isnan(sum_of_squares(x)));
}

TEST_P(OptimizerTest, CastRoundsAsTheScalarTypeDoes) {
  const Tensor x = memory.normal("x", {20001});
  const std::vector<float> special{0.0F,       -0.0F,   kInfinity,
                                   -kInfinity, kNaN,    -kNaN,
                                   1e-40F,     3.4e38F, 1.00390625F /* a tie, to even */,
                                   1.01171875F /* a tie, up */};
  for (std::size_t i = 0; i < special.size(); ++i) set(x, static_cast<std::int64_t>(i), special[i]);
  const Tensor y = memory.empty(x.shape(), DType::bf16), back = memory.empty(x.shape());
  run(*ctx, Cast{.y = y, .x = x});
  EXPECT_TRUE(same_bits(y, memory.copy(x, DType::bf16)));
  run(*ctx, Cast{.y = back, .x = y});
  EXPECT_TRUE(same_bits(back, memory.copy(y, DType::f32)));
}

TEST_P(OptimizerTest, CastKeepsEveryNaN) {
  const std::vector<std::uint32_t> bits{0x7f800001U, 0xff800001U, 0x7fffffffU, 0xffffffffU,
                                        0x7fc00000U};
  const Tensor x = memory.empty({static_cast<std::int64_t>(bits.size())});
  for (std::size_t i = 0; i < bits.size(); ++i) x.as<float>()[i] = std::bit_cast<float>(bits[i]);
  const Tensor y = memory.empty(x.shape(), DType::bf16);
  run(*ctx, Cast{.y = y, .x = x});
  for (std::size_t i = 0; i < bits.size(); ++i) {
    EXPECT_EQ(y.as<bf16>()[i].bits, bf16(std::bit_cast<float>(bits[i])).bits) << i;
    EXPECT_TRUE(std::isnan(get(y, static_cast<std::int64_t>(i)))) << i;
  }
}

TEST(OptimizerOps, RejectWrongOperands) {
  Optimizer o(Isa::avx2, 16);
  o.op.step = 0;
  EXPECT_THROW(run(*o.ctx, o.op), Error);
  o.op.step = 1;
  o.op.gradient = o.memory.zeros({15});
  EXPECT_THROW(run(*o.ctx, o.op), Error);
  EXPECT_THROW(run(*o.ctx, SumOfSquares{.out = o.memory.zeros({1}), .x = o.working}), Error);
  EXPECT_THROW(run(*o.ctx, Cast{.y = o.working, .x = o.memory.zeros({15})}), Error);
  EXPECT_THROW(run(*o.ctx, Cast{.y = o.memory.integers({1}), .x = o.memory.zeros({1})}), Error);
}

}  // namespace
}  // namespace hg::test
