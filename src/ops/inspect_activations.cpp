#include "ops/inspect_activations.h"

#include "ops/cpu/isa.h"

namespace hg {

void Magnitudes::check() const {
  HG_CHECK(x.rank() == 2, "{}: x is {}, expected [T, C]", name, x.shape().to_string());
  HG_CHECK(x.dtype() != DType::i32, "{}: x is i32, expected f32 or bf16", name);
  check_slice(name.data(), "x", x, x.shape(), x.dtype());
  check_contiguous(name.data(), "out", out, {kStatistics}, DType::f32);
  constexpr std::int64_t kExact = std::int64_t{1} << 24;
  HG_CHECK(x.dim(0) <= kExact && x.dim(1) <= kExact,
           "{}: x is {}, expected at most 2^24 along each axis, as far as f32 counts exactly", name,
           x.shape().to_string());
}

Cost Magnitudes::cost() const {
  return {.flops = 3.0 * static_cast<double>(x.numel()), .bytes = static_cast<double>(x.bytes())};
}

Tensor Magnitudes::scratch(Context& ctx) const {
  const std::int64_t pieces = (x.dim(0) + kRowsPerPiece - 1) / kRowsPerPiece;
  return ctx.scratch.allocate("magnitudes of pieces", DType::f32, {pieces, sizeof(Partial) / 4});
}

void Magnitudes::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
