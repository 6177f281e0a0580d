#include "ops/inspect_optimizer.h"

#include "ops/cpu/isa.h"

namespace hg {

void UpdateNorms::check() const {
  const Shape shape{master.dim(0)};
  check_contiguous(name, "out", out, {kSums}, DType::f32);
  check_contiguous(name, "master", master, shape, DType::f32);
  check_contiguous(name, "m", m, shape, DType::f32);
  check_contiguous(name, "v", v, shape, DType::f32);
  check_contiguous(name, "gradient", gradient, shape, DType::f32);
  HG_CHECK(step >= 1, "{}: step is {}, expected 1 or more", name, step);
}

Cost UpdateNorms::cost() const {
  return {.flops = 13.0 * static_cast<double>(master.numel()),
          .bytes = 4.0 * static_cast<double>(master.bytes())};
}

Tensor UpdateNorms::scratch(Context& ctx) const {
  return ctx.scratch.allocate("update norms of pieces", DType::f32, {kPieces, 2 * kSums});
}

void UpdateNorms::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
