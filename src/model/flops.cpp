#include "model/flops.h"

#include <algorithm>

namespace hg {
namespace {

/// Sum over all parameters of a whole model of how many elements of it a token meets; `counts` is
/// asked which kinds take part.
template <class Counts>
double active(const ModelConfig& config, const ParamStore& store, Counts&& counts) {
  const double share = static_cast<double>(config.moe.top_k) /
                       static_cast<double>(std::max<std::int64_t>(1, config.moe.num_experts));
  double sum = 0;
  for (const ParamSpec& spec : store.specs()) {
    for (const auto& part : spec.parts) {
      if (!counts(part.kind)) continue;
      sum += (part.kind == "experts" ? share : 1) * static_cast<double>(spec.repeats * part.numel);
    }
  }
  return sum;
}

}  // namespace

double active_parameters(const ModelConfig& config, const ParamStore& store) {
  return active(config, store, [](const std::string&) { return true; });
}

double model_flops_per_token(const ModelConfig& config, const ParamStore& store,
                             std::int64_t seq_len) {
  const double n = active(config, store, [&](const std::string& kind) {
    return kind != "embedding" || config.tie_word_embeddings;
  });
  return 6 * n + 12 * static_cast<double>(config.num_hidden_layers * config.num_attention_heads *
                                          config.head_dim * seq_len);
}

}  // namespace hg
