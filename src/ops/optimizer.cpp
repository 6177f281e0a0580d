#include "ops/optimizer.h"

#include "ops/cpu/isa.h"

namespace hg {

void AdamW::check() const {
  const Shape shape{master.dim(0)};
  check_contiguous(name, "master", master, shape, DType::f32);
  check_contiguous(name, "m", m, shape, DType::f32);
  check_contiguous(name, "v", v, shape, DType::f32);
  check_contiguous(name, "gradient", gradient, shape, DType::f32);
  if (working) check_contiguous(name, "working", working, shape, DType::bf16);
  HG_CHECK(step >= 1, "{}: step is {}, expected 1 or more", name, step);
}

Cost AdamW::cost() const {
  return {.flops = 16.0 * static_cast<double>(master.numel()),
          .bytes = static_cast<double>(7 * master.bytes() + (working ? working.bytes() : 0))};
}

void AdamW::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void SumOfSquares::check() const {
  check_contiguous(name, "x", x, {x.dim(0)}, DType::f32);
  check_contiguous(name, "out", out, {1}, DType::f32);
}

Cost SumOfSquares::cost() const {
  return {.flops = 2.0 * static_cast<double>(x.numel()), .bytes = static_cast<double>(x.bytes())};
}

Tensor SumOfSquares::scratch(Context& ctx) const {
  return ctx.scratch.allocate("sums of squares", DType::f32, {2 * kPieces});
}

void SumOfSquares::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void Cast::check() const {
  check_contiguous(name, "x", x, {x.dim(0)}, x.dtype());
  check_contiguous(name, "y", y, x.shape(), y.dtype());
  HG_CHECK(x.dtype() != DType::i32 && y.dtype() != DType::i32,
           "{}: from {} to {}, expected f32 or bf16", name, name_of(x.dtype()), name_of(y.dtype()));
}

Cost Cast::cost() const { return {.bytes = static_cast<double>(x.bytes() + y.bytes())}; }

void Cast::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
