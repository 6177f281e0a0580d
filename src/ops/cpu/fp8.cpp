// The CPU's FP8 products: operands are widened to f32 with their scales, and multiplied as f32.
#include "ops/cpu/fp8_widen.h"
#include "ops/cpu/isa.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/optimizer.h"

namespace hg {

void widen_fp8(Context& ctx, const WidenFp8& widen) { dispatch_cpu(widen, ctx); }

namespace {

LinearForward in_f32(const Fp8Product& op, const Fp8Scratch& s) {
  return {.y = s.c ? s.c : op.c, .x = s.a, .weight = s.b};
}

}  // namespace

Fp8Scratch Fp8Product::scratch(Context& ctx) const {
  const auto floats = [&](const char* label, const Shape& shape) {
    return ctx.scratch.allocate(label, DType::f32, shape);
  };
  if (ctx.scratch_device() == Device::cuda)
    return {.a = {}, .b = {}, .c = {}, .library = floats("cuBLASLt", {1, kCublasLtWorkspace / 4})};
  Fp8Scratch s{.a = floats("fp8 a", a.values.shape()),
               .b = floats("fp8 b", b.values.shape()),
               .c = {},
               .library = {}};
  if (accumulate || c.dtype() != DType::f32) s.c = floats("fp8 c", c.shape());
  if (ctx.device == Device::meta) in_f32(*this, s).scratch(ctx);
  return s;
}

void Fp8Product::cpu(Context& ctx) const {
  const ArenaScope scope(ctx.scratch);
  const Fp8Scratch s = scratch(ctx);
  widen_fp8(ctx, {.to = s.a, .from = a});
  widen_fp8(ctx, {.to = s.b, .from = b});
  in_f32(*this, s).cpu(ctx);
  if (accumulate) {
    Add{.y = c, .x = s.c}.cpu(ctx);
  } else if (s.c) {
    const Shape flat{c.numel()};
    Cast{.y = c.view(flat), .x = s.c.view(flat)}.cpu(ctx);
  }
}

}  // namespace hg
