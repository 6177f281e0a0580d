#include "model/norm_gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/tensors.h"

namespace hg::test {
namespace {

TEST(NormGate, FollowsTheFormulaInF64) {
  constexpr std::int64_t kTokens = 5, kHidden = 12, kRank = 3;
  ModelConfig config;
  config.hidden_size = kHidden;
  config.gated_norm_rank = kRank;
  config.initializer_range = 0.5;
  ParamStore store;
  const UnitId unit = store.begin_unit("gate");
  const NormGate gate(store, config, "norm");
  store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
  store.initialize(3);
  Tensors memory;
  const auto ctx = cpu_context(Isa::avx2);
  const Tensor x = memory.normal("x", {kTokens, kHidden});
  NormGate::Saved s;
  gate.forward(*ctx, store.weights(unit), x, s, {.policy = Recompute::none, .pass = Pass::train});

  const auto sigmoid = [](double z) { return 1 / (1 + std::exp(-z)); };
  const ConstTensor down = store.weights(unit)[0], up = store.weights(unit)[1];
  for (std::int64_t t = 0; t < kTokens; ++t) {
    std::vector<double> hidden(kRank);
    for (std::int64_t r = 0; r < kRank; ++r) {
      double z = 0;
      for (std::int64_t i = 0; i < kHidden; ++i)
        z += double{get(down, r * kHidden + i)} * double{get(x, t * kHidden + i)};
      hidden[static_cast<std::size_t>(r)] = z * sigmoid(z);
    }
    for (std::int64_t i = 0; i < kHidden; ++i) {
      double z = 0;
      for (std::int64_t r = 0; r < kRank; ++r)
        z += double{get(up, i * kRank + r)} * hidden[static_cast<std::size_t>(r)];
      EXPECT_NEAR(get(s.y, t * kHidden + i), double{get(x, t * kHidden + i)} * sigmoid(z), 1e-5);
    }
  }
}

}  // namespace
}  // namespace hg::test
