#include "ops/gate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr std::int64_t kKv = 2, kG = 3;

/// Heads, and gates in a fused projection buffer [T, W], whose rows also hold other things.
struct Gate {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor x, y, dy, dx, fused, dfused, logits, dlogits;
  GateFunction function;

  /// `e` logits for each head; `gap` elements between the gates of neighbouring heads.
  Gate(Isa isa, std::int64_t tokens, std::int64_t d, std::int64_t e, DType dtype,
       GateFunction gate_function = {}, std::int64_t gap = 0)
      : ctx(cpu_context(isa)), function(gate_function) {
    const Shape heads{tokens, kKv, kG, d};
    x = memory.normal("x", heads, dtype);
    dy = memory.normal("dy", heads, dtype);
    y = memory.empty(heads, dtype);
    dx = memory.empty(heads, dtype);
    const std::int64_t gates = kG * (e + gap), width = gates + 5;
    fused = memory.normal("fused", {tokens, kKv * width}, dtype, 2);
    dfused = memory.zeros({tokens, kKv * width}, dtype);
    const auto cut = [&](const Tensor& buffer) {
      const Tensor groups = buffer.split(1, kKv, width).slice(2, 5, width);
      return groups.split(2, kG, e + gap).slice(3, 0, e);
    };
    logits = cut(fused);
    dlogits = cut(dfused);
  }
  void forward() { run(*ctx, GateForward{y, x, logits, function}); }
  void backward() { run(*ctx, GateBackward{dx, dlogits, dy, x, logits, function}); }
  void run_both() {
    forward();
    backward();
  }
};

/// Every activation in both modes.
std::vector<GateFunction> functions() {
  std::vector<GateFunction> result;
  for (const Activation activation :
       {Activation::sigmoid, Activation::silu, Activation::ns_sigmoid, Activation::identity}) {
    for (const GateMode mode : {GateMode::multiplicative, GateMode::additive}) {
      result.push_back({.activation = activation, .mode = mode, .scale = 1.7F});
    }
  }
  return result;
}

double formula(const GateFunction& function, double x, double z) {
  const double sigmoid = 1 / (1 + std::exp(-z));
  const double value = function.activation == Activation::sigmoid      ? sigmoid
                       : function.activation == Activation::silu       ? z * sigmoid
                       : function.activation == Activation::ns_sigmoid ? 0.5 + 0.5 * sigmoid
                                                                       : z;
  const double s = double{function.scale} * value;
  return function.mode == GateMode::multiplicative ? x * s : x + s;
}

class GateTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, GateTest, testing::ValuesIn(isas()));

TEST_P(GateTest, ForwardAgreesWithTheFormulaInF64) {
  constexpr std::int64_t kTokens = 20, kD = 35;
  for (const GateFunction& function : functions()) {
    for (const std::int64_t e : {std::int64_t{1}, kD}) {
      for (const std::int64_t gap : {0, 2}) {
        Gate gate(GetParam(), kTokens, kD, e, DType::f32, function, gap);
        gate.forward();
        const Tensor expected = gate.memory.empty(gate.y.shape());
        const Tensor& logits = gate.logits;
        for (std::int64_t i = 0; i < expected.numel(); ++i) {
          const std::int64_t head = i / kD, t = head / (kKv * kG), j = head / kG % kKv,
                             g = head % kG;
          const float logit = logits.as<float>()[t * logits.stride(0) + j * logits.stride(1) +
                                                 g * logits.stride(2) + (e == 1 ? 0 : i % kD)];
          set(expected, i,
              static_cast<float>(formula(function, double{get(gate.x, i)}, double{logit})));
        }
        EXPECT_LT(relative_error(gate.y, expected), rounding(DType::f32)) << e << " gap " << gap;
      }
    }
  }
}

TEST_P(GateTest, BackwardAgreesWithFiniteDifferences) {
  for (const GateFunction& function : functions()) {
    for (const std::int64_t d : {16, 19}) {
      for (const std::int64_t e : {std::int64_t{1}, d}) {
        Gate gate(GetParam(), 2, d, e, DType::f32, function, d == 19 ? 2 : 0);
        gate.run_both();
        expect_gradients({.forward = [&] { gate.forward(); },
                          .outputs = {{gate.y, gate.dy}},
                          .inputs = {{"x", gate.x, gate.dx}, {"logits", gate.fused, gate.dfused}}});
      }
    }
  }
}

TEST_P(GateTest, WithoutLogitsGatesByItself) {
  for (const GateFunction& function : functions()) {
    Gate gate(GetParam(), 3, 19, 19, DType::f32, function);
    gate.logits = gate.dlogits = {};
    gate.run_both();
    for (std::int64_t i = 0; i < gate.y.numel(); ++i) {
      const double x = double{get(gate.x, i)};
      EXPECT_NEAR(get(gate.y, i), formula(function, x, x), 1e-5);
    }
    expect_gradients({.forward = [&] { gate.forward(); },
                      .outputs = {{gate.y, gate.dy}},
                      .inputs = {{"x", gate.x, gate.dx}}});
  }
}

TEST_P(GateTest, StridesOfZeroShareLogits) {
  constexpr std::int64_t kTokens = 5, kD = 19;
  Gate gate(GetParam(), kTokens, kD, kD, DType::f32);
  const Tensor shared = gate.memory.normal("shared", {kTokens, kD});
  gate.logits = Tensor(shared.data(), DType::f32, gate.x.shape(), {kD, 0, 0, 1});
  gate.dlogits = gate.memory.empty(gate.x.shape());
  gate.run_both();
  const Tensor dshared = gate.memory.zeros(shared.shape());
  for (std::int64_t i = 0; i < gate.x.numel(); ++i) {
    const std::int64_t at = i / (kKv * kG * kD) * kD + i % kD;
    set(dshared, at, get(dshared, at) + get(gate.dlogits, i));
    EXPECT_NEAR(get(gate.y, i), formula({}, double{get(gate.x, i)}, double{get(shared, at)}), 1e-5);
  }
  expect_gradients({.forward = [&] { gate.forward(); },
                    .outputs = {{gate.y, gate.dy}},
                    .inputs = {{"x", gate.x, gate.dx}, {"logits", shared, dshared}}});
}

TEST_P(GateTest, WritesInPlace) {
  for (const std::int64_t e : {1, 19}) {
    Gate apart(GetParam(), 5, 19, e, DType::f32), in_place(GetParam(), 5, 19, e, DType::f32);
    apart.run_both();
    in_place.dx = in_place.dy;
    in_place.backward();
    in_place.y = in_place.x;
    in_place.forward();
    EXPECT_TRUE(same_bits(in_place.y, apart.y));
    EXPECT_TRUE(same_bits(in_place.dx, apart.dx));
    EXPECT_TRUE(same_bits(in_place.dfused, apart.dfused));
  }
}

TEST_P(GateTest, Bf16AgreesWithF32) {
  for (const GateFunction& function : functions()) {
    for (const std::int64_t e : {1, 48}) {
      Gate narrow(GetParam(), 33, 48, e, DType::bf16, function),
          wide(GetParam(), 33, 48, e, DType::f32, function);
      narrow.run_both();
      wide.run_both();
      EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
      EXPECT_LT(relative_error(narrow.dx, wide.dx), rounding(DType::bf16));
      EXPECT_LT(relative_error(narrow.dfused, wide.dfused), rounding(DType::bf16));
    }
  }
}

TEST_P(GateTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  for (const std::int64_t e : {1, 40}) {
    Gate one(GetParam(), 100, 40, e, DType::f32), two(GetParam(), 100, 40, e, DType::f32);
    set_num_threads(1);
    one.run_both();
    set_num_threads(2);
    two.run_both();
    EXPECT_TRUE(same_bits(one.y, two.y));
    EXPECT_TRUE(same_bits(one.dx, two.dx));
    EXPECT_TRUE(same_bits(one.dfused, two.dfused));
  }
  set_num_threads(before);
}

TEST_P(GateTest, SaturatesWithoutNaN) {
  for (const float logit : {200.0F, -200.0F}) {
    Gate gate(GetParam(), 1, 16, 16, DType::f32);
    for (std::int64_t i = 0; i < gate.fused.numel(); ++i) set(gate.fused, i, logit);
    gate.forward();
    gate.backward();
    for (std::int64_t i = 0; i < gate.y.numel(); ++i) {
      EXPECT_NEAR(get(gate.y, i), logit > 0 ? get(gate.x, i) : 0, 1e-30);
      EXPECT_NEAR(get(gate.dx, i), logit > 0 ? get(gate.dy, i) : 0, 1e-30);
    }
    for (std::int64_t i = 0; i < gate.dfused.numel(); ++i) {
      EXPECT_NEAR(get(gate.dfused, i), 0, 1e-30);
    }
  }
}

TEST(Gate, RejectsWrongOperands) {
  EXPECT_THROW(Gate(Isa::avx2, 4, 16, 2, DType::f32).forward(), Error);
  Gate types(Isa::avx2, 4, 16, 16, DType::f32);
  types.logits = types.memory.zeros(types.x.shape(), DType::bf16);
  EXPECT_THROW(types.forward(), Error);
  Gate missing(Isa::avx2, 4, 16, 16, DType::f32);
  missing.dlogits = {};
  EXPECT_THROW(missing.backward(), Error);
}

}  // namespace
}  // namespace hg::test
