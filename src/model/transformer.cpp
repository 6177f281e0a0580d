#include "model/transformer.h"

#include <algorithm>

#include "dist/pipeline_schedule.h"
#include "ops/elementwise.h"
#include "ops/rope.h"

namespace hg {

Transformer::Transformer(const ModelConfig& config, ParamStore& store)
    : config_(config), store_(store) {
  const Mesh& mesh = store.mesh();
  const bool at_end = mesh.last_stage() && config.tie_word_embeddings;
  if (mesh.first_stage() || at_end) embedding_.emplace(store, config);
  chunks_ = make_chunks(store);
  if (mesh.last_stage())
    head_.emplace(store, config, at_end ? std::optional(embedding_->weight()) : std::nullopt);
}

std::vector<Transformer::Chunk> Transformer::make_chunks(ParamStore& store) const {
  const Mesh& mesh = store.mesh();
  const ModelConfig part = config_.divided(mesh.tensor.size);
  const int parts = mesh.pipeline.size * mesh.chunks;
  std::vector<Chunk> chunks;
  for (int i = mesh.pipeline.rank; i < parts; i += mesh.pipeline.size) {
    const auto [first, last] = layers_of_part(config_.num_hidden_layers, i, parts);
    Chunk& chunk = chunks.emplace_back(Chunk{.blocks = {},
                                             .first_layer = static_cast<std::size_t>(first),
                                             .begins = i == 0,
                                             .ends = i == parts - 1});
    for (std::int64_t layer = first; layer < last; ++layer)
      chunk.blocks.emplace_back(store, part, layer);
  }
  return chunks;
}

void Transformer::make_tables(const Context& ctx, Arena& arena) {
  const Shape shape{config_.max_position_embeddings, config_.rotary_dim() / 2};
  rope_ = {.cos = arena.allocate("rope table", DType::f32, shape),
           .sin = arena.allocate("rope table", DType::f32, shape)};
  if (ctx.device == Device::meta) return;
  if (!on_gpu(ctx)) return fill_rope_table(rope_.cos, rope_.sin, config_.rope_theta);
  std::vector<float> cos(static_cast<std::size_t>(shape.numel())), sin(cos.size());
  fill_rope_table({cos.data(), DType::f32, shape}, {sin.data(), DType::f32, shape},
                  config_.rope_theta);
  store_values(ctx, rope_.cos, cos.data());
  store_values(ctx, rope_.sin, sin.data());
}

Tensor Transformer::make_stream(Arena& arena, std::string_view label, std::int64_t tokens) const {
  const Mesh& mesh = store_.mesh();
  const std::int64_t own = tokens / (mesh.sequence ? mesh.tensor.size : 1);
  return arena.allocate(label, store_.compute_dtype(), {own, config_.hidden_size});
}

UnitId Transformer::unit_of(const Chunk& chunk, std::size_t block) const {
  if (block < chunk.blocks.size()) return chunk.blocks[block].unit();
  return chunk.ends ? head_->unit() : -1;
}

Stream Transformer::enter(Context& ctx, const Chunk& chunk, ConstTensor tokens, ConstTensor x,
                          Arena& arena, Arena& room) const {
  const std::int64_t t = tokens.dim(0);
  if (chunk.begins) {
    store_.gather(ctx, embedding_->unit(), unit_of(chunk, 0));
    const Tensor embedded = make_stream(arena, "residual", t);
    embedding_->forward(ctx, store_.weights(embedding_->unit()), tokens, embedded);
    x = embedded;
  }
  return {.residual = x,
          .delta = make_stream(room, "stream delta", t),
          .spare = make_stream(room, "stream sum", t)};
}

void Transformer::run_blocks(Context& ctx, const Chunk& chunk, const Batch& batch, Keep keep,
                             Stream& stream, std::span<Block::Saved> saved,
                             const Instruments* instruments) const {
  for (std::size_t i = 0; i < chunk.blocks.size(); ++i) {
    const Block& block = chunk.blocks[i];
    store_.gather(ctx, block.unit(), unit_of(chunk, i + 1));
    block.forward(ctx, store_.weights(block.unit()), batch, rope_, stream,
                  saved[std::min(i, saved.size() - 1)], keep,  // one for all if nothing is kept
                  {instruments, chunk.first_layer + i});
  }
}

void Transformer::begin_step(Context& ctx) const {
  for (const Chunk& chunk : chunks_) {
    for (const Block& block : chunk.blocks) block.begin_step(ctx, store_.weights(block.unit()));
  }
}

void Transformer::end_step(Context& ctx) const {
  for (const Chunk& chunk : chunks_) {
    for (const Block& block : chunk.blocks) block.end_step(ctx, store_.weights(block.unit()));
  }
}

Tensor Transformer::forward(Context& ctx, int chunk, const Batch& batch, ConstTensor x,
                            Recompute recompute, Flight& flight,
                            const Instruments* instruments) const {
  const ArenaScope scratch(ctx.scratch);
  const Chunk& at = chunk_of(chunk);
  flight.blocks.resize(at.blocks.size());
  flight.stream =
      enter(ctx, at, batch.tokens, x, ctx.activations, at.ends ? ctx.activations : ctx.scratch);
  run_blocks(ctx, at, batch, {.policy = recompute, .pass = Pass::train}, flight.stream,
             flight.blocks, instruments);
  if (at.ends) return {};
  const Stream& stream = flight.stream;
  const Tensor sum = make_stream(ctx.activations, "stream of a chunk", batch.tokens.dim(0));
  run(ctx, Add{.y = sum, .x = stream.delta, .base = stream.residual});
  return sum;
}

void Transformer::backward(Context& ctx, int chunk, const Batch& batch,
                           const BackwardOptions& options, Flight& flight,
                           const TokenLosses& losses, Tensor d) const {
  const ArenaScope scratch(ctx.scratch);
  const auto& [recompute, z_loss, micro] = options;
  const Chunk& at = chunk_of(chunk);
  const auto gradients = [&](UnitId unit) { return store_.gradients(unit, !micro.first); };
  const auto reduce = [&](UnitId unit) { store_.reduce(ctx, unit, micro.first, micro.last); };
  if (at.ends) {
    const UnitId unit = head_->unit(), tied = embedding_ ? embedding_->unit() : unit;
    store_.gather(ctx, unit, -1);
    head_->forward_backward(ctx, store_.weights(unit), store_.weights(tied), gradients(unit),
                            gradients(tied), batch, flight.stream,
                            {.loss = losses.loss, .lse = losses.lse, .z_loss = z_loss}, d);
    reduce(unit);
    if (tied != unit && !at.begins) reduce(tied);
  }
  for (std::size_t i = at.blocks.size(); i-- > 0;) {
    const Block& block = at.blocks[i];
    store_.gather(ctx, block.unit(), i > 0 ? at.blocks[i - 1].unit() : -1);
    block.backward(ctx, store_.weights(block.unit()), gradients(block.unit()), batch, rope_,
                   flight.blocks[i], recompute, d);
    reduce(block.unit());
  }
  if (!at.begins) return;
  const Gradients g = gradients(embedding_->unit());
  // A tied head of this very rank has already written its part.
  const bool written = at.ends && config_.tie_word_embeddings;
  embedding_->backward(ctx, g, batch.tokens, d, g.accumulate || written);
  reduce(embedding_->unit());
}

Tensor Transformer::infer(Context& ctx, int chunk, const Batch& batch, ConstTensor x,
                          const TokenLosses& losses, const Instruments* instruments) const {
  const Chunk& at = chunk_of(chunk);
  const std::int64_t t = batch.tokens.dim(0);
  const Tensor sum = at.ends ? Tensor{} : make_stream(ctx.scratch, "stream of a chunk", t);
  const ArenaScope scratch(ctx.scratch);
  Stream stream = enter(ctx, at, batch.tokens, x, ctx.scratch, ctx.scratch);
  Block::Saved saved;
  run_blocks(ctx, at, batch, {.policy = Recompute::none, .pass = Pass::infer}, stream, {&saved, 1},
             instruments);
  if (!at.ends) {
    run(ctx, Add{.y = sum, .x = stream.delta, .base = stream.residual});
    return sum;
  }
  const UnitId unit = head_->unit(), tied = embedding_ ? embedding_->unit() : unit;
  store_.gather(ctx, unit, -1);
  head_->forward(ctx, store_.weights(unit), store_.weights(tied), batch, stream,
                 {.loss = losses.loss, .lse = losses.lse, .z_loss = 0});
  return {};
}

void Transformer::forward_backward(Context& ctx, const Batch& batch, const BackwardOptions& options,
                                   const TokenLosses& losses,
                                   const Instruments* instruments) const {
  const ArenaScope activations(ctx.activations);
  if (options.micro.first) begin_step(ctx);
  Flight flight;
  forward(ctx, 0, batch, {}, options.recompute, flight, instruments);
  const Tensor d = make_stream(ctx.activations, "d stream", batch.tokens.dim(0));
  backward(ctx, 0, batch, options, flight, losses, d);
}

void Transformer::forward(Context& ctx, const Batch& batch, const TokenLosses& losses,
                          const Instruments* instruments) const {
  infer(ctx, 0, batch, {}, losses, instruments);
}

void Transformer::decode(Context& ctx, ConstTensor tokens, ConstTensor positions,
                         std::int64_t first, std::span<const KeyValueCache> caches,
                         Tensor logits) const {
  const ArenaScope scratch(ctx.scratch);
  const Chunk& all = chunks_.front();
  Stream stream = enter(ctx, all, tokens, {}, ctx.scratch, ctx.scratch);
  for (std::size_t i = 0; i < all.blocks.size(); ++i) {
    const Block& block = all.blocks[i];
    block.decode(ctx, store_.weights(block.unit()), positions, first, rope_, stream, caches[i]);
  }
  const UnitId unit = head_->unit();
  head_->last_logits(ctx, store_.weights(unit), store_.weights(embedding_->unit()), stream, logits);
}

std::unique_ptr<ParamStore> declare_model(const ModelConfig& config) {
  auto store = std::make_unique<ParamStore>();
  const Transformer model(config, *store);
  return store;
}

}  // namespace hg
