#include "model/feed_forward.h"

namespace hg {
namespace {

std::variant<Mlp, Moe> make_layer(ParamStore& store, const ModelConfig& config, std::int64_t layer,
                                  const std::string& prefix) {
  if (config.moe.routed(layer)) return Moe(store, config, prefix);
  return Mlp(store, config, config.intermediate_size, Mlp::Share::part, "mlp", prefix);
}

}  // namespace

FeedForward::FeedForward(ParamStore& store, const ModelConfig& config, std::int64_t layer,
                         const std::string& prefix)
    : region_(store.mesh()), layer_(make_layer(store, config, layer, prefix)) {}

void FeedForward::forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x,
                          Tensor y, Saved& s, Keep keep, const LayerInstruments& look) const {
  if (const auto* moe = std::get_if<Moe>(&layer_)) {
    return moe->forward(ctx, w, documents, x, y, s.moe, keep, look);
  }
  const ConstTensor all = region_.enter(ctx, x, s.input, keep);
  const Tensor part = region_.room(ctx, y);
  std::get<Mlp>(layer_).forward(ctx, w, all, part, s.mlp, keep);
  region_.leave(ctx, part, y);
}

void FeedForward::backward(Context& ctx, const Weights& w, const Gradients& g,
                           ConstTensor documents, ConstTensor dy, ConstTensor x, const Saved& s,
                           Tensor dx) const {
  if (const auto* moe = std::get_if<Moe>(&layer_)) {
    return moe->backward(ctx, w, g, documents, dy, x, s.moe, dx);
  }
  const ArenaScope scope(ctx.scratch);
  const ConstTensor dpart = region_.backward_of_leave(ctx, dy);
  const Tensor dall = region_.room(ctx, dx);
  std::get<Mlp>(layer_).backward(ctx, w, g, dpart, region_.entered(x, s.input), s.mlp, dall);
  region_.backward_of_enter(ctx, dall, dx);
}

void FeedForward::begin_step(Context& ctx, const Weights& w) const {
  if (const auto* moe = std::get_if<Moe>(&layer_)) moe->router().begin_step(ctx, w);
}

void FeedForward::end_step(Context& ctx, const Weights& w) const {
  if (const auto* moe = std::get_if<Moe>(&layer_)) moe->router().end_step(ctx, w);
}

}  // namespace hg
