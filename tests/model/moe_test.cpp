// A layer of experts by itself: finite differences through all of it, what capacity drops, what a
// step counts, and routing at its worst. Whole models with experts are in transformer_test.cpp.
#include "model/moe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/compare.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

constexpr std::int64_t kTokens = 12, kHidden = 6;

ModelConfig layer_config() {
  ModelConfig config;
  config.hidden_size = kHidden;
  config.initializer_range = 0.5;
  config.moe.num_experts = 5;
  config.moe.top_k = 2;
  config.moe.expert_intermediate_size = 4;
  config.moe.load_balance = LoadBalance::micro_batch;
  return config;
}

/// A layer, a batch, and what backward makes of it.
struct Layer {
  explicit Layer(const ModelConfig& config, std::uint64_t seed = 1)
      : moe_config(config.moe), unit(store.begin_unit("layer")), moe(store, config, "mlp") {
    store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
    store.initialize(seed);
    x = memory.normal("x", {kTokens, kHidden});
    dy = memory.normal("dy", {kTokens, kHidden});
    y = memory.empty({kTokens, kHidden});
    dx = memory.empty({kTokens, kHidden});
    documents = memory.integers({0, 5, kTokens});
  }

  Moe::Saved forward(Pass pass = Pass::train) {
    Moe::Saved s;
    moe.forward(*ctx, store.weights(unit), documents, x, y, s,
                {.policy = Recompute::none, .pass = pass}, {});
    return s;
  }
  void backward(const Moe::Saved& s) {
    moe.backward(*ctx, store.weights(unit), store.gradients(unit, false), documents, dy, x, s, dx);
  }
  /// Of the parameter or buffer whose name ends so.
  ParamState state(std::string_view name) const {
    for (const ParamState& state : store.states()) {
      if (state.spec.name.ends_with(name)) return state;
    }
    throw std::out_of_range(std::string(name));
  }
  Tensor buffer(std::string_view name) const {
    for (const Buffer& buffer : store.buffers()) {
      if (buffer.spec.name.ends_with(name)) return buffer.values;
    }
    throw std::out_of_range(std::string(name));
  }
  std::int64_t dropped(const Moe::Saved& s) const {
    return std::ranges::count(
        std::span(s.route.rows.as<std::int32_t>(), static_cast<std::size_t>(s.route.rows.numel())),
        -1);
  }

  MoeConfig moe_config;
  Tensors memory;
  ParamStore store;
  UnitId unit;
  Moe moe;
  std::unique_ptr<Context> ctx = cpu_context(Isa::avx2);
  Tensor x, y, dx, dy, documents;
};

/// The balance losses as they are defined, with the choices held as they are in `held`.
double losses(const Layer& layer, const Moe::Saved& held, const Moe::Saved& now) {
  const std::int64_t e = layer.moe_config.num_experts, k = layer.moe_config.top_k;
  const bool sequence = layer.moe_config.load_balance == LoadBalance::sequence;
  const std::vector<std::int64_t> bounds =
      sequence ? std::vector<std::int64_t>{0, 5, kTokens} : std::vector<std::int64_t>{0, kTokens};
  double total = 0;
  for (std::size_t piece = 0; piece + 1 < bounds.size(); ++piece) {
    std::vector<double> f(static_cast<std::size_t>(e)), p(f);
    const auto tokens = static_cast<double>(bounds[piece + 1] - bounds[piece]);
    for (std::int64_t t = bounds[piece]; t < bounds[piece + 1]; ++t) {
      for (std::int64_t i = 0; i < k; ++i) {
        const auto expert = held.route.experts.as<std::int32_t>()[t * k + i];
        f[static_cast<std::size_t>(expert)] += 1 / (tokens * static_cast<double>(k));
      }
      double sum = 0;
      for (std::int64_t i = 0; i < e; ++i)
        sum += std::exp(double{get(now.route.logits, t * e + i)});
      for (std::int64_t i = 0; i < e; ++i) {
        p[static_cast<std::size_t>(i)] +=
            std::exp(double{get(now.route.logits, t * e + i)}) / sum / tokens;
      }
      total += layer.moe_config.z_loss_coef * std::pow(std::log(sum), 2);
    }
    total += layer.moe_config.aux_loss_coef * tokens * static_cast<double>(e) *
             std::inner_product(f.begin(), f.end(), p.begin(), 0.0);
  }
  return total;
}

/// Finite differences of sum(dy y) + losses in every input and weight. Steps across which a choice
/// changes have no gradient, so the test takes a seed whose choices hold.
void expect_gradients_of(const ModelConfig& config, std::uint64_t seed) {
  Layer layer(config, seed);
  layer.backward(layer.forward());
  const Tensor loss = layer.memory.zeros({1}), one = layer.memory.zeros({1});
  set(one, 0, 1);
  // Its choices lie where forward writes again, so those of a twin are held.
  Layer twin(config, seed);
  const Moe::Saved held = twin.forward();
  GradientCheck check{.forward =
                          [&] {
                            layer.ctx->activations.release(0);
                            const Moe::Saved now = layer.forward();
                            EXPECT_TRUE(same_bits(now.route.experts, held.route.experts))
                                << "take another seed";
                            set(loss, 0, static_cast<float>(losses(layer, held, now)));
                          },
                      .outputs = {{layer.y, layer.dy}, {loss, one}},
                      .inputs = {{"x", layer.x, layer.dx}}};
  for (const ParamState& state : layer.store.states())
    check.inputs.push_back({state.spec.name, state.master, state.gradient});
  expect_gradients(check, 2e-3);
}

TEST(Moe, FiniteDifferencesOfSoftmaxWithBothLosses) {
  ModelConfig config = layer_config();
  config.moe.aux_loss_coef = 0.5;
  config.moe.z_loss_coef = 0.1;
  expect_gradients_of(config, 1);
}

TEST(Moe, FiniteDifferencesWithASharedExpertBehindItsGate) {
  ModelConfig config = layer_config();
  config.moe.norm_topk_prob = false;
  config.moe.shared_expert_intermediate_size = 3;
  config.moe.shared_expert_gate = true;
  config.moe.aux_loss_coef = 0.5;
  config.moe.load_balance = LoadBalance::sequence;
  expect_gradients_of(config, 1);
}

TEST(Moe, FiniteDifferencesWhereCapacityDrops) {
  ModelConfig config = layer_config();
  config.moe.capacity_factor = 0.7;
  expect_gradients_of(config, 1);
  Layer layer(config);
  EXPECT_GT(layer.dropped(layer.forward()), 0);
}

TEST(Moe, CapacityIsOfTrainingAlone) {
  ModelConfig config = layer_config();
  config.moe.capacity_factor = 0.5;
  EXPECT_EQ(config.moe.capacity(kTokens), 3);  // 0.5 x 24 choices / 5 experts, rounded up
  Layer layer(config);
  const Moe::Saved training = layer.forward();
  const std::span offsets(training.route.offsets.as<std::int32_t>(), 6);
  for (std::size_t e = 0; e < 5; ++e) EXPECT_LE(offsets[e + 1] - offsets[e], 3);
  EXPECT_EQ(layer.dropped(training), 24 - offsets[5]);
  EXPECT_EQ(layer.dropped(layer.forward(Pass::infer)), 0);
}

TEST(Moe, ATokenWhoseChoicesAreAllDroppedKeepsItsResidualAlone) {
  ModelConfig config = layer_config();
  config.moe.capacity_factor = 1e-3;  // one row for each expert
  Layer layer(config);
  const Moe::Saved s = layer.forward();
  int empty = 0;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    const auto* rows = s.route.rows.as<std::int32_t>() + 2 * t;
    if (rows[0] >= 0 || rows[1] >= 0) continue;
    ++empty;
    for (std::int64_t i = 0; i < kHidden; ++i) EXPECT_EQ(get(layer.y, t * kHidden + i), 0);
  }
  EXPECT_GE(empty, 12 - 5);
}

TEST(Moe, AnExpertWithoutTokensHasNoGradient) {
  ModelConfig config = layer_config();
  config.moe.bias_update_rate = 1e-3;
  Layer layer(config);
  set(layer.buffer("router.bias"), 3, -100);  // nobody goes there
  layer.backward(layer.forward());
  const Tensor gradient = layer.state("down.weight").gradient;
  const std::int64_t size = kHidden * 4;
  for (std::int64_t i = 0; i < 5 * size; ++i) {
    if (i / size == 3) {
      EXPECT_EQ(get(gradient, i), 0);
    }
    EXPECT_TRUE(std::isfinite(get(gradient, i)));
  }
}

TEST(Moe, TheGlobalBatchCountsAllMicroBatchesOfAStep) {
  ModelConfig config = layer_config();
  config.moe.aux_loss_coef = 1;
  config.moe.load_balance = LoadBalance::global_batch;
  Layer layer(config);
  const Weights w = layer.store.weights(layer.unit);
  const auto loads = [&] {
    const auto* values = layer.buffer("router.loads").as<std::int32_t>();
    return std::vector<std::int32_t>(values, values + 5);
  };
  layer.moe.router().begin_step(*layer.ctx, w);
  layer.forward();
  const auto first = loads();
  for (std::int64_t i = 0; i < layer.x.numel(); ++i) set(layer.x, i, -get(layer.x, i));
  layer.forward(Pass::infer);
  EXPECT_EQ(loads(), first) << "only training counts";
  const Moe::Saved s = layer.forward();
  const auto both = loads();
  EXPECT_EQ(std::accumulate(both.begin(), both.end(), 0), 48);
  EXPECT_NE(both, first);
  for (std::size_t e = 0; e < 5; ++e) {
    EXPECT_FLOAT_EQ(get(s.route.balance, static_cast<std::int64_t>(e)),
                    5 * static_cast<float>(both[e]) / 48);
  }
  layer.moe.router().begin_step(*layer.ctx, w);
  EXPECT_EQ(loads(), std::vector<std::int32_t>(5));
}

TEST(Moe, ABiasFollowsTheLoadsOfTheStep) {
  ModelConfig config = layer_config();
  config.moe.bias_update_rate = 0.25;
  Layer layer(config);
  layer.forward();
  layer.moe.router().end_step(*layer.ctx, layer.store.weights(layer.unit));
  const Tensor bias = layer.buffer("router.bias");
  const auto* loads = layer.buffer("router.loads").as<std::int32_t>();
  double sum = 0;
  for (int i = 0; i < 5; ++i) {
    sum += double{get(bias, i)};
    for (int j = 0; j < 5; ++j) {
      if (loads[i] < 4.8 && loads[j] > 4.8) {
        EXPECT_NEAR(get(bias, i) - get(bias, j), 0.5, 1e-6);
      }
    }
  }
  EXPECT_NEAR(sum, 0, 1e-6);
}

TEST(Moe, ATokenThatIsNotFiniteShowsInItsOutputAlone) {
  Layer layer(layer_config());
  set(layer.x, 7 * kHidden, std::numeric_limits<float>::quiet_NaN());
  layer.forward();
  for (std::int64_t i = 0; i < layer.y.numel(); ++i)
    EXPECT_EQ(std::isnan(get(layer.y, i)), i / kHidden == 7) << i;
}

}  // namespace
}  // namespace hg::test
