#include "model/flops.h"

namespace hg {

double model_flops_per_token(const ModelConfig& config, const ParamStore& store,
                             std::int64_t seq_len) {
  double n = 0;
  for (const ParamSpec& spec : store.specs()) {
    for (const auto& part : spec.parts) {
      if (part.kind != "embedding" || config.tie_word_embeddings)
        n += static_cast<double>(spec.repeats * part.numel);
    }
  }
  return 6 * n + 12 * static_cast<double>(config.num_hidden_layers * config.num_attention_heads *
                                          config.head_dim * seq_len);
}

}  // namespace hg
