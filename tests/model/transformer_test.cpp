// The whole model: gradients against PyTorch, and equalities that must hold bit by bit.
#include "model/transformer.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/golden_model.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

void expect_same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(same_bits(a[i], b[i])) << "parameter " << i;
}

class TransformerTest : public testing::TestWithParam<std::tuple<const char*, Isa>> {
 protected:
  Golden golden{std::get<0>(GetParam())};
  Isa isa = std::get<1>(GetParam());
};
INSTANTIATE_TEST_SUITE_P(Goldens, TransformerTest,
                         testing::Combine(testing::Values("elementwise", "headwise", "none_untied"),
                                          testing::ValuesIn(isas())));
INSTANTIATE_TEST_SUITE_P(
    Arms, TransformerTest,
    testing::Combine(testing::Values("value", "value_headwise", "key", "query", "rotated_key",
                                     "rotated_query_headwise", "output", "mean_scores",
                                     "mean_logits", "shared", "value_mean_scores", "additive_silu",
                                     "additive_identity", "silu", "ns_sigmoid", "scaled", "learned",
                                     "learned_headwise", "self_silu", "state_value",
                                     "state_value_headwise", "first_dims", "output_norm",
                                     "sink_learned", "sink_off_by_one", "sandwich_clip",
                                     "gated_norm", "moe", "moe_shared_gate", "moe_sigmoid",
                                     "moe_unnormalized", "moe_collapsed", "moe_ties"),
                     testing::ValuesIn(isas())),
    [](const auto& one) {
      return std::string(std::get<0>(one.param)) + "_" +
             (std::get<1>(one.param) == Isa::avx512 ? "avx512" : "avx2");
    });

TEST_P(TransformerTest, LossesAndGradientsAreThoseOfPyTorch) {
  Loaded model(golden, isa);
  model.step(golden);
  EXPECT_LT(relative_error(model.losses.loss, golden.file.tensor("losses")), kPyTorchF32);
  EXPECT_LT(relative_error(model.losses.lse, golden.file.tensor("lse")), kPyTorchF32);
  for (const ParamState& state : model.run.store.states()) {
    const ConstTensor expected = golden.file.tensor("grad." + state.spec.name);
    EXPECT_LT(relative_error(state.gradient, expected.view({expected.numel()})), kPyTorchF32)
        << state.spec.name;
  }
}

TEST_P(TransformerTest, Bf16StaysCloseToPyTorch) {
  Loaded model(golden, isa, DType::bf16);
  model.step(golden);
  EXPECT_LT(relative_error(model.losses.loss, golden.file.tensor("losses")), kModelBf16);
  for (const ParamState& state : model.run.store.states()) {
    const ConstTensor expected = golden.file.tensor("grad." + state.spec.name);
    EXPECT_LT(relative_error(state.gradient, expected.view({expected.numel()})), kModelBf16)
        << state.spec.name;
  }
}

TEST_P(TransformerTest, RecomputationChangesNoBit) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Loaded kept(golden, isa, dtype);
    kept.step(golden, Recompute::none);
    for (const Recompute policy : {Recompute::cheap, Recompute::block}) {
      Loaded again(golden, isa, dtype);
      again.step(golden, policy);
      expect_same_bits(kept.gradients(), again.gradients());
    }
  }
}

TEST_P(TransformerTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  for (const DType dtype : {DType::f32, DType::bf16}) {
    set_num_threads(1);
    Loaded one(golden, isa, dtype);
    one.step(golden);
    set_num_threads(2);
    Loaded two(golden, isa, dtype);
    two.step(golden);
    set_num_threads(before);
    expect_same_bits(one.gradients(), two.gradients());
  }
}

TEST_P(TransformerTest, AccumulationAddsGradients) {
  Loaded model(golden, isa);
  model.step(golden);
  const auto once = model.gradients();
  model.step(golden, Recompute::none, true);
  const auto twice = model.gradients();
  for (std::size_t i = 0; i < once.size(); ++i) {
    for (std::int64_t j = 0; j < once[i].numel(); ++j) set(once[i], j, 2 * get(once[i], j));
    EXPECT_LT(relative_error(twice[i], once[i]), kReordered) << "parameter " << i;
  }
}

TEST_P(TransformerTest, ForwardAloneGivesTheSameLosses) {
  Loaded model(golden, isa);
  model.step(golden);
  const Tensor trained = model.memory.copy(model.losses.loss, DType::f32);
  model.run.model.forward(model.run.ctx, golden.batch, model.losses);
  EXPECT_TRUE(same_bits(trained, model.losses.loss));
}

TEST_P(TransformerTest, DecodingTokenByTokenGivesPyTorchsLogits) {
  Loaded model(golden, isa);
  const ModelConfig& config = golden.config;
  const Shape cache_shape{config.max_position_embeddings, config.num_key_value_heads, 1,
                          config.head_dim};
  std::vector<KeyValueCache> caches;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    caches.push_back({.k = model.memory.empty(cache_shape), .v = model.memory.empty(cache_shape)});
  }
  const Tensor logits = model.memory.empty({1, config.vocab_size});
  const ConstTensor expected = golden.file.tensor("logits");
  const auto bounds = golden.batch.documents.as<std::int32_t>();
  for (int document = 0; document < 3; ++document) {
    const std::int64_t begin = bounds[document], end = bounds[document + 1];
    std::int64_t first = 0;
    // A prompt of up to three tokens at once, and then one at a time.
    for (std::int64_t t = begin; t < end;) {
      const std::int64_t n = first == 0 ? std::min<std::int64_t>(3, end - begin) : 1;
      model.run.model.decode(model.run.ctx, golden.batch.tokens.rows(t, t + n),
                             golden.batch.positions.rows(t, t + n), first, caches, logits);
      t += n;
      first += n;
      EXPECT_LT(relative_error(logits, expected.rows(t - 1, t)), kPyTorchF32) << "token " << t - 1;
    }
  }
}

}  // namespace
}  // namespace hg::test
