#include "model/stream_norm.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/compare.h"
#include "support/tensors.h"

namespace hg::test {
namespace {

constexpr std::int64_t kTokens = 4, kHidden = 20;
constexpr Keep kTrain{.policy = Recompute::none, .pass = Pass::train};

ModelConfig config_of(std::int64_t rank, bool pre_affine) {
  ModelConfig config;
  config.hidden_size = kHidden;
  config.gated_norm_rank = rank;
  config.pre_affine = pre_affine;
  return config;
}

/// One norm of a stream that has something pending, alone in a store.
struct Norm {
  ParamStore store;
  UnitId unit = store.begin_unit("norm");
  StreamNorm norm;
  std::unique_ptr<Context> ctx = cpu_context(Isa::avx2);
  Tensors memory;
  StreamNorm::Saved saved;
  Tensor residual, delta, sum, dnormed, dsum;

  explicit Norm(const ModelConfig& config) : norm(store, config, "norm") {
    store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
    for (const ParamState& state : store.states()) {
      const bool vector = state.spec.shape.rank() == 1;
      const Tensor weight = memory.normal(state.spec.name, state.master.shape(), DType::f32,
                                          vector ? 0.2F : 0.5F, vector ? 1.0F : 0.0F);
      for (std::int64_t i = 0; i < weight.numel(); ++i) set(state.master, i, get(weight, i));
    }
    residual = memory.normal("residual", {kTokens, kHidden});
    delta = memory.normal("delta", residual.shape());
    sum = memory.empty(residual.shape());
    dnormed = memory.normal("dnormed", residual.shape());
    dsum = memory.normal("dsum", residual.shape());
  }
  void forward() {
    const ArenaScope scope(ctx->activations);  // differences run it many times
    Stream stream{.residual = residual, .delta = delta, .spare = {}, .pending = true};
    norm.forward(*ctx, store.weights(unit), stream, sum, saved, kTrain);
    EXPECT_FALSE(stream.pending);
    EXPECT_EQ(stream.residual.data(), sum.data());
  }
  void backward(bool holds_residual, const Tensor& d) {
    norm.backward(*ctx, store.weights(unit), store.gradients(unit, false), dnormed, saved,
                  holds_residual, d);
  }
};

class StreamNormTest : public testing::TestWithParam<std::tuple<std::int64_t, bool>> {
 protected:
  ModelConfig config = config_of(std::get<0>(GetParam()), std::get<1>(GetParam()));
};
INSTANTIATE_TEST_SUITE_P(Arms, StreamNormTest,
                         testing::Combine(testing::Values<std::int64_t>(0, 3), testing::Bool()));

TEST_P(StreamNormTest, BackwardAgreesWithFiniteDifferences) {
  for (const bool holds_residual : {true, false}) {
    Norm a(config);
    a.forward();
    const Tensor d =
        holds_residual ? a.memory.copy(a.dsum, DType::f32) : a.memory.empty(a.dsum.shape());
    a.backward(holds_residual, d);
    GradientCheck check{.forward = [&] { a.forward(); },
                        .outputs = {{a.saved.normed, a.dnormed}},
                        .inputs = {{"residual", a.residual, d}, {"delta", a.delta, d}}};
    if (holds_residual) check.outputs.push_back({a.sum, a.dsum});
    for (const ParamState& state : a.store.states())
      check.inputs.push_back({state.spec.name, state.master, state.gradient});
    expect_gradients(check);
    EXPECT_EQ(a.ctx->scratch.used(), 0U);
  }
}

TEST_P(StreamNormTest, TheStreamItselfIsOnlyAddedUp) {
  Norm a(config), plain(config_of(0, false));
  a.forward();
  plain.forward();
  EXPECT_TRUE(same_bits(a.sum, plain.sum));
}

TEST(StreamNorm, StartsAsHalfOfAPlainNorm) {
  ModelConfig config = config_of(4, true);
  Norm a(config), plain(config_of(0, false));
  a.store.initialize(1);
  plain.store.initialize(1);
  a.forward();
  plain.forward();
  for (std::int64_t i = 0; i < a.saved.normed.numel(); ++i)
    EXPECT_NEAR(get(a.saved.normed, i), 0.5 * double{get(plain.saved.normed, i)}, 1e-2);
}

TEST(StreamNorm, NamesTheParametersOfAnArm) {
  const Norm plain(config_of(0, false)), arm(config_of(4, true));
  const auto names = [](const Norm& a) {
    std::vector<std::string> result;
    for (const ParamSpec& spec : a.store.specs())
      result.push_back(spec.name + " " + spec.parts[0].kind);
    return result;
  };
  EXPECT_EQ(names(plain), std::vector<std::string>{"norm.weight norm"});
  EXPECT_EQ(names(arm), (std::vector<std::string>{"norm.weight norm", "norm.pre_affine norm",
                                                  "norm.gate_down.weight norm_gate",
                                                  "norm.gate_up.weight norm_gate"}));
}

}  // namespace
}  // namespace hg::test
