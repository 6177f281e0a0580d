#include "model/block.h"

#include "ops/norm.h"

namespace hg {

StreamNorm::StreamNorm(ParamStore& store, const ModelConfig& config, const std::string& name)
    : eps_(static_cast<float>(config.rms_norm_eps)),
      weight_(store.add({.name = name,
                         .shape = {config.hidden_size},
                         .decay = false,
                         .parts = {{"norm", config.hidden_size, Init::ones()}}})) {}

void StreamNorm::forward(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
                         Keep keep) const {
  const Shape& shape = stream.residual.shape();
  const DType dtype = stream.residual.dtype();
  if (keep.make(ctx, Effort::cheap, s.normed, "normed", dtype, shape)) {
    keep.make(ctx, Effort::cheap, s.rstd, "rstd", DType::f32, {shape[0]});
    if (stream.pending) {
      run(ctx, AddRmsNormForward{.y = s.normed,
                                 .sum = sum,
                                 .rstd = s.rstd,
                                 .x = stream.residual,
                                 .delta = stream.delta,
                                 .weight = w[weight_],
                                 .eps = eps_});
      stream.residual = sum;
      stream.pending = false;
    } else {
      run(ctx, RmsNormForward{.y = s.normed,
                              .rstd = s.rstd,
                              .x = stream.residual,
                              .weight = w[weight_],
                              .eps = eps_});
    }
  }
  s.sum = stream.residual;
}

void StreamNorm::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dnormed,
                          const Saved& s, ConstTensor dresidual, Tensor d) const {
  run(ctx, RmsNormBackward{.dx = d,
                           .dweight = g[weight_],
                           .dy = dnormed,
                           .x = s.sum,
                           .rstd = s.rstd,
                           .weight = w[weight_],
                           .dresidual = dresidual,
                           .accumulate = g.accumulate});
}

Block::Block(ParamStore& store, const ModelConfig& config, const std::string& name)
    : unit_(store.begin_unit(name)),
      attention_norm_(store, config, name + ".attention.norm.weight"),
      attention_(store, config, name + ".attention"),
      mlp_norm_(store, config, name + ".mlp.norm.weight"),
      mlp_(store, config, name + ".mlp") {}

void Block::forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                    Stream& stream, Saved& s, Keep keep) const {
  const ArenaScope scope(ctx.scratch);
  const Shape& shape = stream.residual.shape();
  const DType dtype = stream.residual.dtype();
  // The sum in front of attention is what backward starts from under every policy.
  const auto place_for_sum = [&](bool kept) {
    return kept ? ctx.activations.allocate("residual", dtype, shape) : stream.spare;
  };
  const bool training = keep.pass == Pass::train;
  attention_norm_.forward(ctx, w, stream, place_for_sum(training && stream.pending),
                          s.attention_norm, keep);
  attention_.forward(ctx, w, batch, rope, s.attention_norm.normed, stream.delta, s.attention, keep);
  stream.pending = true;
  mlp_norm_.forward(ctx, w, stream, place_for_sum(training && keep.policy != Recompute::block),
                    s.mlp_norm, keep);
  mlp_.forward(ctx, w, s.mlp_norm.normed, stream.delta, s.mlp, keep);
  stream.pending = true;
}

void Block::make_again(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                       Saved& s, Recompute recompute) const {
  const Keep keep{.policy = recompute, .pass = Pass::again};
  const Shape& shape = s.attention_norm.sum.shape();
  const DType dtype = s.attention_norm.sum.dtype();
  Stream stream{.residual = s.attention_norm.sum, .delta = {}, .spare = {}};
  if (recompute == Recompute::block) {
    stream.delta = ctx.scratch.allocate("attention delta again", dtype, shape);
    stream.spare = ctx.scratch.allocate("residual again", dtype, shape);
  }
  attention_norm_.forward(ctx, w, stream, {}, s.attention_norm, keep);
  attention_.forward(ctx, w, batch, rope, s.attention_norm.normed, stream.delta, s.attention, keep);
  if (recompute == Recompute::block) {
    stream.pending = true;
  } else {
    stream.residual = s.mlp_norm.sum;
  }
  mlp_norm_.forward(ctx, w, stream, stream.spare, s.mlp_norm, keep);
  mlp_.forward(ctx, w, s.mlp_norm.normed, {}, s.mlp, keep);
}

void Block::backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                     const RopeTable& rope, Saved& s, Recompute recompute, Tensor d) const {
  const ArenaScope scope(ctx.scratch);
  if (recompute != Recompute::none) make_again(ctx, w, batch, rope, s, recompute);
  const Tensor dnormed = ctx.scratch.allocate("d normed", d.dtype(), d.shape());
  mlp_.backward(ctx, w, g, d, s.mlp_norm.normed, s.mlp, dnormed);
  mlp_norm_.backward(ctx, w, g, dnormed, s.mlp_norm, d, d);
  attention_.backward(ctx, w, g, batch, rope, d, s.attention_norm.normed, s.attention, dnormed);
  attention_norm_.backward(ctx, w, g, dnormed, s.attention_norm, d, d);
}

void Block::decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
                   const RopeTable& rope, Stream& stream, const KeyValueCache& cache) const {
  const ArenaScope scope(ctx.scratch);
  const Keep keep{.policy = Recompute::none, .pass = Pass::infer};
  StreamNorm::Saved norm;
  attention_norm_.forward(ctx, w, stream, stream.spare, norm, keep);
  attention_.decode(ctx, w, positions, first, rope, norm.normed, stream.delta, cache);
  stream.pending = true;
  mlp_norm_.forward(ctx, w, stream, stream.spare, norm, keep);
  Mlp::Saved mlp;
  mlp_.forward(ctx, w, norm.normed, stream.delta, mlp, keep);
  stream.pending = true;
}

}  // namespace hg
