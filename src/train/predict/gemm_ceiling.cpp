#include "train/predict/gemm_ceiling.h"

#include <algorithm>

#include "core/clock.h"
#include "core/context.h"
#include "ops/linear.h"

namespace hg {

double measure_gemm_ceiling(const CpuInfo& cpu, DType dtype,
                            const std::shared_ptr<GpuStream>& gpu) {
  const std::int64_t rows = gpu ? 8192 : 2048, width = gpu ? 8192 : 1024;
  Context ctx;
  ctx.cpu = cpu;
  ctx.gpu = gpu;
  ctx.plans_for = gpu ? Device::cuda : Device::cpu;
  Arena memory("gemm ceiling");
  const auto lay_out = [&] {
    return LinearForward{.y = memory.allocate("y", dtype, {rows, width}),
                         .x = memory.allocate("x", dtype, {rows, width}),
                         .weight = memory.allocate("weight", dtype, {width, width})};
  };
  ctx.device = Device::meta;
  run(ctx, lay_out());
  memory.release(0);
  memory.reserve(memory.high_water(), gpu);
  ctx.scratch.reserve(ctx.scratch.high_water(), gpu);
  ctx.device = ctx.plans_for;
  const LinearForward product = lay_out();  // of whatever is there: its speed does not care
  double best = 1e9;
  // Long enough for a moment in which nothing else runs: a ceiling must not depend on the
  // neighbours.
  constexpr double kSeconds = 0.7;
  const auto begin = Clock::now();
  for (int i = 0; i < 20 || seconds_since(begin) < kSeconds; ++i) {
    const auto start = Clock::now();
    run(ctx, product);
    if (gpu) gpu->synchronize();
    if (i > 1) best = std::min(best, seconds_since(start));
  }
  return product.cost().flops / best;
}

}  // namespace hg
