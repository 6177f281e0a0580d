#include "train/optimizer.h"

#include <cmath>

#include "dist/collectives.h"
#include "ops/optimizer.h"

namespace hg {

double gradient_norm(Context& ctx, ParamStore& store) {
  store.finish_reduce(ctx);
  const ArenaScope scope(ctx.scratch);
  const std::vector<ConstTensor> gradients = store.norm_gradients();
  const auto count = static_cast<std::int64_t>(gradients.size());
  const Tensor sums = ctx.scratch.allocate("squared norms", DType::f32, {count});
  for (std::int64_t i = 0; i < count; ++i) {
    run(ctx, SumOfSquares{.out = sums.rows(i, i + 1), .x = gradients[static_cast<std::size_t>(i)]});
  }
  const Tensor total = ctx.scratch.allocate("squared norms", DType::f32, {1});
  double sum = 0;
  if (ctx.device != Device::meta) {
    for (std::int64_t i = 0; i < count; ++i) sum += double{sums.as<float>()[i]};
    if (store.mesh().world.size == 1) return std::sqrt(sum);
    *total.as<float>() = static_cast<float>(sum);
  }
  run(ctx, AllReduce{.x = total,
                     .group = store.mesh().world,
                     .reduce = Reduce::sum,
                     .label = "gradient norm"});
  return ctx.device == Device::meta ? 0 : std::sqrt(double{*total.as<float>()});
}

void adamw_step(Context& ctx, ParamStore& store, const OptimizerConfig& config, double lr,
                double gradient_scale, std::int64_t step) {
  for (const ParamState& state : store.states()) {
    run(ctx,
        AdamW{.master = state.master,
              .m = state.m,
              .v = state.v,
              .working = state.working,
              .gradient = state.gradient,
              .lr = static_cast<float>(lr),
              .beta1 = static_cast<float>(config.beta1),
              .beta2 = static_cast<float>(config.beta2),
              .eps = static_cast<float>(config.eps),
              .weight_decay = state.spec.decay ? static_cast<float>(config.weight_decay) : 0.0F,
              .gradient_scale = static_cast<float>(gradient_scale),
              .step = step});
  }
  store.gather_updated(ctx);
}

}  // namespace hg
