#include "ops/fp8.h"

#include "ops/cpu/isa.h"

namespace hg {
namespace {

std::int64_t blocks_in(std::int64_t extent) { return (extent + kFp8Block - 1) / kFp8Block; }

void check_multiple(std::string_view op, const char* what, std::int64_t extent) {
  HG_CHECK(extent > 0 && extent % kFp8Multiple == 0,
           "{}: the {} is {}, expected a multiple of {}: FP8 products take no others", op, what,
           extent, kFp8Multiple);
}

void check_fp8(std::string_view op, const char* operand, const Fp8Matrix& matrix,
               const Shape& shape) {
  HG_CHECK(is_fp8(matrix.values.dtype()), "{}: operand '{}' is {}, expected e4m3 or e5m2", op,
           operand, name_of(matrix.values.dtype()));
  check_contiguous(op, operand, matrix.values, shape, matrix.values.dtype());
  check_contiguous(op, "scales", matrix.scales, fp8_scale_shape(matrix.blocks, shape[0], shape[1]),
                   DType::f32);
}

double bytes_of(const Fp8Matrix& matrix) {
  return matrix ? static_cast<double>(matrix.values.bytes() + matrix.scales.bytes()) : 0;
}

}  // namespace

Shape fp8_scale_shape(Fp8Blocks blocks, std::int64_t rows, std::int64_t columns) {
  const std::int64_t across = blocks_in(columns);
  if (blocks == Fp8Blocks::whole) return {1};
  if (blocks == Fp8Blocks::rows) return {across, rows};
  return {blocks_in(rows), (across + 3) / 4 * 4};
}

void Fp8Quantize::check() const {
  HG_CHECK(matrix || transpose, "{}: neither the matrix nor its transpose is wanted", name);
  HG_CHECK(x.rank() == 2, "{}: x {} is no matrix", name, x.shape().to_string());
  check_contiguous(name, "x", x, x.shape(), DType::bf16);
  check_multiple(name, "number of rows", x.dim(0));
  check_multiple(name, "number of columns", x.dim(1));
  if (matrix) check_fp8(name, "matrix", matrix, x.shape());
  if (transpose) check_fp8(name, "transpose", transpose, {x.dim(1), x.dim(0)});
  if (!matrix || !transpose) return;
  HG_CHECK(matrix.values.dtype() == transpose.values.dtype() && matrix.blocks == transpose.blocks,
           "{}: the matrix and its transpose differ in type or blocks", name);
}

Cost Fp8Quantize::cost() const {
  const double passes = any().blocks == Fp8Blocks::whole ? 2 : 1;
  return {
      .flops = 2.0 * static_cast<double>(x.numel()),
      .bytes = passes * static_cast<double>(x.bytes()) + bytes_of(matrix) + bytes_of(transpose)};
}

Tensor Fp8Quantize::scratch(Context& ctx) const {
  if (any().blocks != Fp8Blocks::whole) return {};
  return ctx.scratch.allocate("magnitudes of pieces", DType::f32, {kPieces});
}

void Fp8Quantize::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void Fp8Product::check() const {
  HG_CHECK(a.values.rank() == 2 && b.values.rank() == 2, "{}: a {} and b {} are not matrices", name,
           a.values.shape().to_string(), b.values.shape().to_string());
  const std::int64_t m = a.values.dim(0), k = a.values.dim(1), n = b.values.dim(0);
  check_multiple(name, "length of the sums", k);
  check_multiple(name, "width of the result", n);
  check_fp8(name, "a", a, {m, k});
  check_fp8(name, "b", b, {n, k});
  HG_CHECK(a.values.dtype() == DType::e4m3 || b.values.dtype() == DType::e4m3,
           "{}: both operands are e5m2, expected at least one e4m3", name);
  HG_CHECK((a.blocks == Fp8Blocks::whole) == (b.blocks == Fp8Blocks::whole) &&
               (a.blocks != Fp8Blocks::squares || b.blocks != Fp8Blocks::squares),
           "{}: the blocks of the operands do not go together", name);
  HG_CHECK(c.dtype() == DType::f32 || (c.dtype() == DType::bf16 && !accumulate),
           "{}: c is {}, expected f32, or bf16 if it is not added to", name, name_of(c.dtype()));
  check_contiguous(name, "c", c, {m, n}, c.dtype());
}

Cost Fp8Product::cost() const {
  return {.flops = 2.0 * static_cast<double>(a.values.numel() * b.values.dim(0)),
          .bytes = bytes_of(a) + bytes_of(b) + static_cast<double>(c.bytes())};
}

}  // namespace hg
