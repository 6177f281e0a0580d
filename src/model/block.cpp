#include "model/block.h"

namespace hg {

Block::Block(ParamStore& store, const ModelConfig& config, std::int64_t layer)
    : Block(store, config, layer, fmt::format("layers.{}", layer)) {}

Block::Block(ParamStore& store, const ModelConfig& config, std::int64_t layer,
             const std::string& name)
    : unit_(store.begin_unit(name, true)),
      region_(store.mesh()),
      attention_norm_(store, config, name + ".attention.norm"),
      attention_(store, config, name + ".attention"),
      attention_output_(store, config, name + ".attention"),
      mlp_norm_(store, config, name + ".mlp.norm"),
      mlp_(store, config, layer, name + ".mlp"),
      mlp_output_(store, config, name + ".mlp") {}

void Block::forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                    Stream& stream, Saved& s, Keep keep, const LayerInstruments& look) const {
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
  attend(ctx, w, batch, rope, stream.delta, s, keep);
  if (look) {
    const ConstTensor x = region_.entered(s.attention_norm.normed, s.attention_input);
    look.see_attention(ctx, batch, attention_.view(w, x, s.attention));
  }
  attention_output_.forward(ctx, w, stream.delta, s.attention_output, keep);
  if (look) look.see_branch(ctx, Branch::attention, stream.residual, stream.delta);
  stream.pending = true;
  mlp_norm_.forward(ctx, w, stream, place_for_sum(training && keep.policy != Recompute::block),
                    s.mlp_norm, keep);
  const ConstTensor x = s.mlp_norm.normed;
  const Tensor y = mlp_output_.place(ctx, x, stream.delta, s.mlp_output, keep);
  mlp_.forward(ctx, w, batch.documents, x, y, s.mlp, keep, look);
  mlp_output_.forward(ctx, w, stream.delta, s.mlp_output, keep);
  if (look) look.see_branch(ctx, Branch::mlp, stream.residual, stream.delta);
  stream.pending = true;
}

void Block::attend(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                   Tensor delta, Saved& s, Keep keep) const {
  const ConstTensor normed = s.attention_norm.normed;
  const Tensor y = attention_output_.place(ctx, normed, delta, s.attention_output, keep);
  const ConstTensor x = region_.enter(ctx, normed, s.attention_input, keep);
  const Tensor part = region_.room(ctx, y);
  attention_.forward(ctx, w, batch, rope, x, part, s.attention, keep);
  region_.leave(ctx, part, y);
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
  attend(ctx, w, batch, rope, stream.delta, s, keep);
  attention_output_.forward(ctx, w, stream.delta, s.attention_output, keep);
  if (recompute == Recompute::block) {
    stream.pending = true;
  } else {
    stream.residual = s.mlp_norm.sum;
  }
  mlp_norm_.forward(ctx, w, stream, stream.spare, s.mlp_norm, keep);
  const ConstTensor x = s.mlp_norm.normed;
  mlp_.forward(ctx, w, batch.documents, x, mlp_output_.place(ctx, x, {}, s.mlp_output, keep), s.mlp,
               keep, {});
  mlp_output_.forward(ctx, w, stream.delta, s.mlp_output, keep);
}

void Block::backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                     const RopeTable& rope, Saved& s, Recompute recompute, Tensor d) const {
  const ArenaScope scope(ctx.scratch);
  if (recompute != Recompute::none) make_again(ctx, w, batch, rope, s, recompute);
  const Tensor dnormed = ctx.scratch.allocate("d normed", d.dtype(), d.shape());
  {
    const ArenaScope branch(ctx.scratch);
    mlp_.backward(ctx, w, g, batch.documents, mlp_output_.backward(ctx, w, g, d, s.mlp_output),
                  s.mlp_norm.normed, s.mlp, dnormed);
  }
  mlp_norm_.backward(ctx, w, g, dnormed, s.mlp_norm, true, d);
  {
    const ArenaScope branch(ctx.scratch);
    const ConstTensor dy = region_.backward_of_leave(
        ctx, attention_output_.backward(ctx, w, g, d, s.attention_output));
    const Tensor dx = region_.room(ctx, dnormed);
    attention_.backward(ctx, w, g, batch, rope, dy,
                        region_.entered(s.attention_norm.normed, s.attention_input), s.attention,
                        dx);
    region_.backward_of_enter(ctx, dx, dnormed);
  }
  attention_norm_.backward(ctx, w, g, dnormed, s.attention_norm, true, d);
}

void Block::decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
                   const RopeTable& rope, Stream& stream, const KeyValueCache& cache) const {
  const ArenaScope scope(ctx.scratch);
  const Keep keep{.policy = Recompute::none, .pass = Pass::infer};
  StreamNorm::Saved norm;
  BranchOutput::Saved output;
  attention_norm_.forward(ctx, w, stream, stream.spare, norm, keep);
  attention_.decode(ctx, w, positions, first, rope, norm.normed,
                    attention_output_.place(ctx, norm.normed, stream.delta, output, keep), cache);
  attention_output_.forward(ctx, w, stream.delta, output, keep);
  stream.pending = true;
  mlp_norm_.forward(ctx, w, stream, stream.spare, norm, keep);
  FeedForward::Saved mlp;
  mlp_.forward(ctx, w, {}, norm.normed,
               mlp_output_.place(ctx, norm.normed, stream.delta, output, keep), mlp, keep, {});
  mlp_output_.forward(ctx, w, stream.delta, output, keep);
  stream.pending = true;
}

}  // namespace hg
