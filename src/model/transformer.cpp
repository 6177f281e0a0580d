#include "model/transformer.h"

#include "ops/embedding.h"
#include "ops/rope.h"

namespace hg {
namespace {

ParamId add_embedding(ParamStore& store, const ModelConfig& config) {
  const std::int64_t v = config.vocab_size, h = config.hidden_size;
  return store.add({.name = "embedding.weight",
                    .shape = {v, h},
                    .decay = true,
                    .parts = {{"embedding", v * h,
                               Init::normal(static_cast<float>(config.initializer_range))}}});
}

std::vector<Block> make_blocks(ParamStore& store, const ModelConfig& config) {
  std::vector<Block> blocks;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    blocks.emplace_back(store, config, i);
  }
  return blocks;
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, ParamStore& store)
    : config_(config),
      store_(store),
      embedding_unit_(store.begin_unit("embedding")),
      embedding_(add_embedding(store, config)),
      blocks_(make_blocks(store, config)),
      head_(store, config, embedding_),
      saved_(blocks_.size()) {}

void Transformer::make_tables(Device device, Arena& arena) {
  const Shape shape{config_.max_position_embeddings, config_.rotary_dim() / 2};
  rope_ = {.cos = arena.allocate("rope table", DType::f32, shape),
           .sin = arena.allocate("rope table", DType::f32, shape)};
  if (device != Device::meta) fill_rope_table(rope_.cos, rope_.sin, config_.rope_theta);
}

UnitId Transformer::unit_of(std::size_t block) const {
  return block < blocks_.size() ? blocks_[block].unit() : head_.unit();
}

Stream Transformer::embed(Context& ctx, ConstTensor tokens, Arena& arena) const {
  const Shape shape{tokens.dim(0), config_.hidden_size};
  const DType dtype = store_.compute_dtype();
  const Tensor x = arena.allocate("residual", dtype, shape);
  const ConstTensor weight = store_.weights(embedding_unit_)[embedding_];
  run(ctx, EmbeddingForward{
               .y = x, .tokens = tokens, .weight = weight, .first = 0, .vocab = weight.dim(0)});
  return {.residual = x,
          .delta = ctx.scratch.allocate("stream delta", dtype, shape),
          .spare = ctx.scratch.allocate("stream sum", dtype, shape)};
}

void Transformer::forward_backward(Context& ctx, const Batch& batch, Recompute recompute,
                                   float z_loss, MicroBatch micro, const TokenLosses& losses,
                                   const Instruments* instruments) {
  const ArenaScope activations(ctx.activations), scratch(ctx.scratch);
  if (micro.first) {
    for (const Block& block : blocks_) block.begin_step(ctx, store_.weights(block.unit()));
  }
  store_.gather(ctx, embedding_unit_, unit_of(0));
  Stream stream = embed(ctx, batch.tokens, ctx.activations);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const UnitId unit = blocks_[i].unit();
    store_.gather(ctx, unit, unit_of(i + 1));
    blocks_[i].forward(ctx, store_.weights(unit), batch, rope_, stream, saved_[i],
                       {.policy = recompute, .pass = Pass::train}, {instruments, i});
  }

  store_.gather(ctx, head_.unit(), -1);
  const Gradients g_embedding = store_.gradients(embedding_unit_, !micro.first);
  const Tensor d = ctx.scratch.allocate("d stream", stream.delta.dtype(), stream.delta.shape());
  head_.forward_backward(ctx, store_.weights(head_.unit()), store_.weights(embedding_unit_),
                         store_.gradients(head_.unit(), !micro.first), g_embedding, batch, stream,
                         {.loss = losses.loss, .lse = losses.lse, .z_loss = z_loss}, d);
  store_.reduce(ctx, head_.unit(), micro.first, micro.last);

  for (std::size_t i = blocks_.size(); i-- > 0;) {
    const UnitId unit = blocks_[i].unit();
    store_.gather(ctx, unit, i > 0 ? unit_of(i - 1) : -1);
    blocks_[i].backward(ctx, store_.weights(unit), store_.gradients(unit, !micro.first), batch,
                        rope_, saved_[i], recompute, d);
    store_.reduce(ctx, unit, micro.first, micro.last);
  }
  run(ctx, EmbeddingBackward{.dweight = g_embedding[embedding_],
                             .dy = d,
                             .tokens = batch.tokens,
                             .first = 0,
                             .vocab = g_embedding[embedding_].dim(0),
                             // A tied head has already written its part.
                             .accumulate = g_embedding.accumulate || config_.tie_word_embeddings});
  store_.reduce(ctx, embedding_unit_, micro.first, micro.last);
}

void Transformer::end_step(Context& ctx) const {
  for (const Block& block : blocks_) block.end_step(ctx, store_.weights(block.unit()));
}

void Transformer::forward(Context& ctx, const Batch& batch, const TokenLosses& losses,
                          const Instruments* instruments) {
  const ArenaScope scratch(ctx.scratch);
  store_.gather(ctx, embedding_unit_, unit_of(0));
  Stream stream = embed(ctx, batch.tokens, ctx.scratch);
  Block::Saved s;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const UnitId unit = blocks_[i].unit();
    store_.gather(ctx, unit, unit_of(i + 1));
    blocks_[i].forward(ctx, store_.weights(unit), batch, rope_, stream, s,
                       {.policy = Recompute::none, .pass = Pass::infer}, {instruments, i});
  }
  store_.gather(ctx, head_.unit(), -1);
  head_.forward(ctx, store_.weights(head_.unit()), store_.weights(embedding_unit_), batch, stream,
                {.loss = losses.loss, .lse = losses.lse, .z_loss = 0});
}

void Transformer::decode(Context& ctx, ConstTensor tokens, ConstTensor positions,
                         std::int64_t first, std::span<const KeyValueCache> caches,
                         Tensor logits) const {
  const ArenaScope scratch(ctx.scratch);
  Stream stream = embed(ctx, tokens, ctx.scratch);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].decode(ctx, store_.weights(blocks_[i].unit()), positions, first, rope_, stream,
                      caches[i]);
  }
  head_.last_logits(ctx, store_.weights(head_.unit()), store_.weights(embedding_unit_), stream,
                    logits);
}

}  // namespace hg
