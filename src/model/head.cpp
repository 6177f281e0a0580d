#include "model/head.h"

#include <algorithm>

#include "dist/collectives.h"
#include "ops/linear.h"
#include "ops/loss.h"

namespace hg {

Head::Head(ParamStore& store, const ModelConfig& config, std::optional<ParamId> tied)
    : unit_(store.begin_unit("head")),
      tensor_(store.mesh().tensor),
      region_(store.mesh()),
      vocab_(config.vocab_size / tensor_.size),
      norm_(store, config, "head.norm"),
      tied_(tied.has_value()),
      weight_(tied.value_or(-1)) {
  if (tied_) return;
  weight_ = store.add({.name = "head.weight",
                       .shape = {vocab_, config.hidden_size},
                       .decay = true,
                       .parts = {{"head", vocab_ * config.hidden_size,
                                  Init::normal(static_cast<float>(config.initializer_range))}},
                       .split = Split::rows});
}

std::int64_t Head::chunk_rows(std::int64_t tokens) const {
  // Enough rows to keep the matrix product busy, few enough that a large vocabulary's logits stay
  // below 64 Mi elements.
  constexpr std::int64_t kElements = std::int64_t{1} << 26, kLeast = 128, kMost = 1024;
  return std::min(tokens, std::clamp(kElements / vocab_, kLeast, kMost));
}

void Head::chunk_loss(Context& ctx, ConstTensor weight, ConstTensor normed, const Batch& batch,
                      Chunk chunk, const Loss& loss, Tensor logits, bool backward) const {
  run(ctx, LinearForward{.y = logits, .x = normed.rows(chunk.begin, chunk.end), .weight = weight});
  const Tensor losses = loss.loss.rows(chunk.begin, chunk.end);
  const Tensor lse = loss.lse.rows(chunk.begin, chunk.end);
  const ConstTensor targets = batch.targets.rows(chunk.begin, chunk.end);
  if (tensor_.size == 1) {
    run(ctx, CrossEntropy{.logits = logits,
                          .loss = losses,
                          .lse = lse,
                          .targets = targets,
                          .z_loss = loss.z_loss,
                          .scale = 1,
                          .backward = backward});
    return;
  }
  const ArenaScope scope(ctx.scratch);
  const std::int64_t n = tensor_.size, rows = chunk.end - chunk.begin;
  const Shape shape{n, rows, CrossEntropyPart::kParts};
  const Tensor parts = ctx.scratch.allocate("parts of losses", DType::f32, shape);
  const Tensor own = part_of(parts, tensor_);
  run(ctx, CrossEntropyPart{.part = own.view({rows, CrossEntropyPart::kParts}),
                            .logits = logits,
                            .targets = targets,
                            .first = first_of_vocabulary()});
  run(ctx, AllGather{.y = parts, .x = own, .group = tensor_, .label = "losses"});
  run(ctx, CrossEntropyJoin{.logits = logits,
                            .loss = losses,
                            .lse = lse,
                            .parts = parts,
                            .targets = targets,
                            .first = first_of_vocabulary(),
                            .z_loss = loss.z_loss,
                            .scale = 1,
                            .backward = backward});
}

ConstTensor Head::enter(Context& ctx, const Weights& w, Stream& stream,
                        StreamNorm::Saved& s) const {
  const Keep keep{.policy = Recompute::none, .pass = Pass::infer};
  norm_.forward(ctx, w, stream, stream.spare, s, keep);
  Tensor all;
  return region_.enter(ctx, s.normed, all, keep);
}

void Head::forward(Context& ctx, const Weights& w, const Weights& embedding, const Batch& batch,
                   Stream& stream, const Loss& loss) const {
  const ArenaScope scope(ctx.scratch);
  StreamNorm::Saved s;
  const ConstTensor normed = enter(ctx, w, stream, s);
  const std::int64_t tokens = normed.dim(0), rows = chunk_rows(tokens);
  const Tensor logits = ctx.scratch.allocate("logits", normed.dtype(), {rows, vocab_});
  for (std::int64_t begin = 0; begin < tokens; begin += rows) {
    const Chunk chunk{begin, std::min(begin + rows, tokens)};
    chunk_loss(ctx, tied_ ? embedding[weight_] : w[weight_], normed, batch, chunk, loss,
               logits.rows(0, chunk.end - chunk.begin), false);
  }
}

void Head::forward_backward(Context& ctx, const Weights& w, const Weights& embedding,
                            const Gradients& g, const Gradients& g_embedding, const Batch& batch,
                            Stream& stream, const Loss& loss, Tensor d) const {
  const ArenaScope scope(ctx.scratch);
  const ConstTensor weight = tied_ ? embedding[weight_] : w[weight_];
  const Tensor dweight = tied_ ? g_embedding[weight_] : g[weight_];
  StreamNorm::Saved s;
  const ConstTensor normed = enter(ctx, w, stream, s);
  const std::int64_t tokens = normed.dim(0), rows = chunk_rows(tokens);
  const Tensor dnormed = ctx.scratch.allocate("d normed", s.normed.dtype(), s.normed.shape());
  const Tensor dall = region_.room(ctx, dnormed);
  const Tensor logits = ctx.scratch.allocate("logits", normed.dtype(), {rows, vocab_});
  for (std::int64_t begin = 0; begin < tokens; begin += rows) {
    const Chunk chunk{begin, std::min(begin + rows, tokens)};
    const Tensor dlogits = logits.rows(0, chunk.end - chunk.begin);
    chunk_loss(ctx, weight, normed, batch, chunk, loss, dlogits, true);
    run(ctx, LinearBackwardInput{
                 .dx = dall.rows(chunk.begin, chunk.end), .dy = dlogits, .weight = weight});
    run(ctx, LinearBackwardWeight{.dweight = dweight,
                                  .dy = dlogits,
                                  .x = normed.rows(chunk.begin, chunk.end),
                                  .accumulate = g.accumulate || begin > 0});
  }
  region_.backward_of_enter(ctx, dall, dnormed);
  norm_.backward(ctx, w, g, dnormed, s, false, d);
}

void Head::last_logits(Context& ctx, const Weights& w, const Weights& embedding, Stream& stream,
                       Tensor y) const {
  const ArenaScope scope(ctx.scratch);
  StreamNorm::Saved s;
  const ConstTensor normed = enter(ctx, w, stream, s);
  const std::int64_t tokens = normed.dim(0);
  run(ctx, LinearForward{.y = y,
                         .x = normed.rows(tokens - 1, tokens),
                         .weight = tied_ ? embedding[weight_] : w[weight_]});
}

}  // namespace hg
