#include "train/optimizer.h"

#include <cmath>

#include "ops/optimizer.h"

namespace hg {

void refresh_working(Context& ctx, const ParamStore& store) {
  for (const ParamState& state : store.states()) {
    if (state.working) run(ctx, Cast{.y = state.working, .x = state.master});
  }
}

double gradient_norm(Context& ctx, const ParamStore& store) {
  const ArenaScope scope(ctx.scratch);
  const Tensor sums = ctx.scratch.allocate("squared norms", DType::f32, {store.units()});
  for (UnitId unit = 0; unit < store.units(); ++unit) {
    run(ctx, SumOfSquares{.out = sums.rows(unit, unit + 1), .x = store.flat_gradients(unit)});
  }
  if (ctx.device == Device::meta) return 0;
  double total = 0;
  for (UnitId unit = 0; unit < store.units(); ++unit) total += double{sums.as<float>()[unit]};
  return std::sqrt(total);
}

void adamw_step(Context& ctx, const ParamStore& store, const OptimizerConfig& config, double lr,
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
}

}  // namespace hg
