#include "train/optimizer.h"

#include <cmath>

#include "dist/gather_rows.h"
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
  if (ctx.device == Device::meta) return 0;
  const HostValues<float> values(ctx, sums);
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += double{values[i]};
  Comm* host = store.mesh().host;
  return std::sqrt(host == nullptr ? sum : sums_of_ranks(*host, {&sum, 1}, "gradient norm")[0]);
}

void adamw_step(Context& ctx, ParamStore& store, const OptimizerConfig& config, double lr,
                double gradient_scale, std::int64_t step) {
  for (const ParamState& state : store.states()) {
    run(ctx, AdamW{.master = state.master,
                   .m = state.m,
                   .v = state.v,
                   .working = state.working,
                   .gradient = state.gradient,
                   .lr = lr,
                   .beta1 = config.beta1,
                   .beta2 = config.beta2,
                   .eps = config.eps,
                   .weight_decay = state.spec.decay ? config.weight_decay : 0,
                   .gradient_scale = static_cast<float>(gradient_scale),
                   .step = step});
  }
  store.gather_updated(ctx);
}

}  // namespace hg
