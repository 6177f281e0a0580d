#include "ops/gate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr std::int64_t kKv = 2, kG = 3;

/// Attention outputs, and gates in a fused projection buffer [T, W], whose rows also hold other
/// things.
struct Gate {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor o, y, dy, d_o, fused, dfused, logits, dlogits;

  /// `e` logits for each head; `gap` elements between the gates of neighbouring heads.
  Gate(Isa isa, std::int64_t tokens, std::int64_t d, std::int64_t e, DType dtype,
       std::int64_t gap = 0)
      : ctx(cpu_context(isa)) {
    const Shape heads{tokens, kKv, kG, d};
    o = memory.normal("o", heads, dtype);
    dy = memory.normal("dy", heads, dtype);
    y = memory.empty(heads, dtype);
    d_o = memory.empty(heads, dtype);
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
  void forward() { run(*ctx, GateForward{.y = y, .o = o, .logits = logits}); }
  void backward() {
    run(*ctx, GateBackward{.d_o = d_o, .dlogits = dlogits, .dy = dy, .o = o, .logits = logits});
  }
};

class GateTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, GateTest, testing::ValuesIn(isas()));

TEST_P(GateTest, ForwardAgreesWithTheFormulaInF64) {
  constexpr std::int64_t kTokens = 20, kD = 35;
  for (const std::int64_t e : {std::int64_t{1}, kD}) {
    for (const std::int64_t gap : {0, 2}) {
      Gate gate(GetParam(), kTokens, kD, e, DType::f32, gap);
      gate.forward();
      const Tensor expected = gate.memory.empty(gate.y.shape());
      const Tensor& logits = gate.logits;
      for (std::int64_t i = 0; i < expected.numel(); ++i) {
        const std::int64_t head = i / kD, t = head / (kKv * kG), j = head / kG % kKv, g = head % kG;
        const float logit = logits.as<float>()[t * logits.stride(0) + j * logits.stride(1) +
                                               g * logits.stride(2) + (e == 1 ? 0 : i % kD)];
        set(expected, i,
            static_cast<float>(double{get(gate.o, i)} / (1 + std::exp(-double{logit}))));
      }
      EXPECT_LT(relative_error(gate.y, expected), rounding(DType::f32)) << e << " gap " << gap;
    }
  }
}

TEST_P(GateTest, BackwardAgreesWithFiniteDifferences) {
  for (const std::int64_t d : {16, 19}) {
    for (const std::int64_t e : {std::int64_t{1}, d}) {
      for (const std::int64_t gap : {0, 2}) {
        Gate gate(GetParam(), 2, d, e, DType::f32, gap);
        gate.forward();
        gate.backward();
        expect_gradients(
            {.forward = [&] { gate.forward(); },
             .outputs = {{gate.y, gate.dy}},
             .inputs = {{"o", gate.o, gate.d_o}, {"logits", gate.fused, gate.dfused}}});
      }
    }
  }
}

TEST_P(GateTest, Bf16AgreesWithF32) {
  for (const std::int64_t e : {1, 48}) {
    Gate narrow(GetParam(), 33, 48, e, DType::bf16), wide(GetParam(), 33, 48, e, DType::f32);
    for (Gate* gate : {&narrow, &wide}) {
      gate->forward();
      gate->backward();
    }
    EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
    EXPECT_LT(relative_error(narrow.d_o, wide.d_o), rounding(DType::bf16));
    EXPECT_LT(relative_error(narrow.dfused, wide.dfused), rounding(DType::bf16));
  }
}

TEST_P(GateTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  for (const std::int64_t e : {1, 40}) {
    Gate one(GetParam(), 100, 40, e, DType::f32), two(GetParam(), 100, 40, e, DType::f32);
    set_num_threads(1);
    one.forward();
    one.backward();
    set_num_threads(2);
    two.forward();
    two.backward();
    EXPECT_TRUE(same_bits(one.y, two.y));
    EXPECT_TRUE(same_bits(one.d_o, two.d_o));
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
      EXPECT_NEAR(get(gate.y, i), logit > 0 ? get(gate.o, i) : 0, 1e-30);
      EXPECT_NEAR(get(gate.d_o, i), logit > 0 ? get(gate.dy, i) : 0, 1e-30);
    }
    for (std::int64_t i = 0; i < gate.dfused.numel(); ++i) {
      EXPECT_NEAR(get(gate.dfused, i), 0, 1e-30);
    }
  }
}

TEST(Gate, RejectsWrongOperands) {
  EXPECT_THROW(Gate(Isa::avx2, 4, 16, 2, DType::f32).forward(), Error);
  Gate types(Isa::avx2, 4, 16, 16, DType::f32);
  types.logits = types.memory.zeros(types.o.shape(), DType::bf16);
  EXPECT_THROW(types.forward(), Error);
  Gate missing(Isa::avx2, 4, 16, 16, DType::f32);
  missing.dlogits = {};
  EXPECT_THROW(missing.backward(), Error);
}

}  // namespace
}  // namespace hg::test
