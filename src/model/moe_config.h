// The one description of a layer of experts: the model, its parameter count, the checks of a config
// and its documentation all follow from it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/config.h"
#include "ops/route.h"

namespace hg {

/// Whose choices the balance loss counts: those of each micro-batch, of each document ("sequence"
/// in DeepSeek-V3), or of the whole step so far, over micro-batches and ranks (arXiv 2501.11873).
enum class LoadBalance { micro_batch, sequence, global_batch };

template <>
struct EnumNames<RouterScore> {
  static constexpr std::pair<RouterScore, std::string_view> values[] = {
      {RouterScore::softmax, "softmax"}, {RouterScore::sigmoid, "sigmoid"}};
};
template <>
struct EnumNames<LoadBalance> {
  static constexpr std::pair<LoadBalance, std::string_view> values[] = {
      {LoadBalance::micro_batch, "micro_batch"},
      {LoadBalance::sequence, "sequence"},
      {LoadBalance::global_batch, "global_batch"}};
};

struct MoeConfig {
  std::int64_t num_experts = 0;
  std::int64_t top_k = 0;
  std::int64_t expert_intermediate_size = 0;
  std::int64_t shared_expert_intermediate_size = 0;
  bool shared_expert_gate = false;
  std::vector<std::int64_t> dense_layers;
  RouterScore score = RouterScore::softmax;
  bool norm_topk_prob = true;
  double routed_scaling_factor = 1;
  LoadBalance load_balance = LoadBalance::global_batch;
  double aux_loss_coef = 0;
  double z_loss_coef = 0;
  double bias_update_rate = 0;
  double capacity_factor = 0;

  void fields(auto&& f) {
    f("num_experts", num_experts, "routed experts of a layer; 0: all layers are dense", at_least(0),
      at_most(static_cast<double>(kMaxExperts)));
    f("top_k", top_k, "experts that a token goes to", at_least(0), at_most(1e5));
    f("expert_intermediate_size", expert_intermediate_size, "width of an expert's SwiGLU",
      at_least(0), at_most(1e7));
    f("shared_expert_intermediate_size", shared_expert_intermediate_size,
      "width of the SwiGLU that every token goes through beside its experts; 0: none", at_least(0),
      at_most(1e7));
    f("shared_expert_gate", shared_expert_gate,
      "the shared expert's output is times a sigmoid gate, one score per token");
    f("dense_layers", dense_layers, "layers that stay dense, of width model.intermediate_size",
      at_least(0));
    f("score", score, "from router logits to scores: softmax over all experts, or sigmoid of each");
    f("norm_topk_prob", norm_topk_prob, "the weights of a token's experts sum to 1");
    f("routed_scaling_factor", routed_scaling_factor, "factor of the weights", positive);
    f("load_balance", load_balance,
      "whose choices the balance loss counts: micro_batch; sequence, each document; global_batch, "
      "the whole step so far");
    f("aux_loss_coef", aux_loss_coef,
      "coefficient of the balance loss, which is 1 for an even load; 0: off", at_least(0.0));
    f("z_loss_coef", z_loss_coef,
      "coefficient of the mean squared logsumexp of the router logits; 0: off", at_least(0.0));
    f("bias_update_rate", bias_update_rate,
      "change per step of a bias that selects experts and balances without a loss; 0: no bias",
      at_least(0.0));
    f("capacity_factor", capacity_factor,
      "in training, an expert takes this many times the mean load and drops the rest; 0: drops "
      "nothing",
      at_least(0.0));
  }

  void validate(ConfigProblems& problems) const {
    if (num_experts == 0) return;
    if (top_k < 1 || top_k > num_experts) {
      problems.add("top_k", "is {}, expected 1 to num_experts = {}", top_k, num_experts);
    }
    if (expert_intermediate_size < 1) {
      problems.add("expert_intermediate_size", "is {}, expected 1 or more",
                   expert_intermediate_size);
    }
    if (shared_expert_gate && shared_expert_intermediate_size == 0) {
      problems.add("shared_expert_gate",
                   "is true, but there is no shared expert (shared_expert_intermediate_size: 0)");
    }
    if (top_k == 1 && norm_topk_prob) {
      problems.add("norm_topk_prob",
                   "is true with top_k = 1: every weight is 1, and the router learns nothing from "
                   "the loss");
    }
  }

  bool routed(std::int64_t layer) const {
    return num_experts > 0 && std::ranges::find(dense_layers, layer) == dense_layers.end();
  }
  RouterFunction router() const {
    return {.score = score,
            .renormalize = norm_topk_prob,
            .factor = static_cast<float>(routed_scaling_factor)};
  }
  /// Rows that an expert takes of `tokens` in training; 0: as many as come.
  std::int64_t capacity(std::int64_t tokens) const {
    return static_cast<std::int64_t>(std::ceil(
        capacity_factor * static_cast<double>(tokens * top_k) / static_cast<double>(num_experts)));
  }
  /// Rows of all experts together, at most, with that capacity.
  std::int64_t rows(std::int64_t tokens, std::int64_t most) const {
    return most > 0 ? std::min(tokens * top_k, num_experts * most) : tokens * top_k;
  }
};

}  // namespace hg
