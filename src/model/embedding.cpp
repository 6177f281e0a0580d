#include "model/embedding.h"

#include "ops/embedding.h"

namespace hg {

Embedding::Embedding(ParamStore& store, const ModelConfig& config)
    : unit_(store.begin_unit("embedding")), region_(store.mesh()), vocab_(config.vocab_size) {
  const Group& tensor = store.mesh().tensor;
  const std::int64_t rows = vocab_ / tensor.size, h = config.hidden_size;
  first_ = rows * tensor.rank;
  weight_ = store.add({.name = "embedding.weight",
                       .shape = {rows, h},
                       .decay = true,
                       .parts = {{"embedding", rows * h,
                                  Init::normal(static_cast<float>(config.initializer_range))}},
                       .split = Split::rows});
  if (config.tie_word_embeddings) store.hold_at_both_ends(unit_);
}

void Embedding::forward(Context& ctx, const Weights& w, ConstTensor tokens, Tensor x) const {
  const ArenaScope scope(ctx.scratch);
  const Tensor part = region_.room(ctx, x);
  run(ctx,
      EmbeddingForward{
          .y = part, .tokens = tokens, .weight = w[weight_], .first = first_, .vocab = vocab_});
  region_.leave(ctx, part, x);
}

void Embedding::backward(Context& ctx, const Gradients& g, ConstTensor tokens, ConstTensor dx,
                         bool accumulate) const {
  run(ctx, EmbeddingBackward{.dweight = g[weight_],
                             .dy = region_.backward_of_leave(ctx, dx),
                             .tokens = tokens,
                             .first = first_,
                             .vocab = vocab_,
                             .accumulate = accumulate});
}

}  // namespace hg
