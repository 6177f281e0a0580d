#include "ops/linear.h"

namespace hg {
namespace {

/// Checks an operand that may have any row stride.
void check_matrix(std::string_view op, const char* name, const ConstTensor& tensor,
                  const Shape& shape, DType dtype) {
  check_tensor(op, name, tensor, shape, dtype);
  HG_CHECK(tensor.numel() > 0, "{}: operand '{}' {} is empty", op, name, shape.to_string());
  HG_CHECK(dtype == DType::f32 || dtype == DType::bf16,
           "{}: operand '{}' is {}, expected f32 or bf16", op, name, name_of(dtype));
  HG_CHECK(tensor.stride(1) == 1 && tensor.stride(0) >= tensor.dim(1),
           "{}: operand '{}' {} has strides [{}, {}], expected an inner stride of 1", op, name,
           tensor.shape().to_string(), tensor.stride(0), tensor.stride(1));
}

Cost product_cost(const ConstTensor& left, const ConstTensor& right, const ConstTensor& result,
                  double multiply_adds) {
  return {.flops = 2.0 * multiply_adds,
          .bytes = static_cast<double>(left.bytes() + right.bytes() + result.bytes())};
}

double multiply_adds(const ConstTensor& x, const ConstTensor& y) {
  return static_cast<double>(x.numel()) * static_cast<double>(y.dim(1));
}

}  // namespace

void LinearForward::check() const {
  HG_CHECK(x.rank() == 2 && weight.rank() == 2, "{}: x {} and weight {} are not matrices", name,
           x.shape().to_string(), weight.shape().to_string());
  const std::int64_t t = x.dim(0), k = x.dim(1), n = weight.dim(0);
  check_matrix(name, "x", x, {t, k}, x.dtype());
  check_matrix(name, "weight", weight, {n, k}, x.dtype());
  check_matrix(name, "y", y, {t, n}, x.dtype());
}

Cost LinearForward::cost() const { return product_cost(x, weight, y, multiply_adds(x, y)); }

void LinearBackwardInput::check() const {
  HG_CHECK(dy.rank() == 2 && weight.rank() == 2, "{}: dy {} and weight {} are not matrices", name,
           dy.shape().to_string(), weight.shape().to_string());
  const std::int64_t t = dy.dim(0), n = dy.dim(1), k = weight.dim(1);
  check_matrix(name, "dy", dy, {t, n}, dy.dtype());
  check_matrix(name, "weight", weight, {n, k}, dy.dtype());
  check_matrix(name, "dx", dx, {t, k}, dy.dtype());
}

Cost LinearBackwardInput::cost() const {
  return product_cost(dy, weight, dx, multiply_adds(dx, dy));
}

void LinearBackwardWeight::check() const {
  HG_CHECK(x.rank() == 2 && dy.rank() == 2, "{}: x {} and dy {} are not matrices", name,
           x.shape().to_string(), dy.shape().to_string());
  const std::int64_t t = x.dim(0), k = x.dim(1), n = dy.dim(1);
  check_matrix(name, "x", x, {t, k}, x.dtype());
  check_matrix(name, "dy", dy, {t, n}, x.dtype());
  check_tensor(name, "dweight", dweight, {n, k}, DType::f32);
  HG_CHECK(dweight.contiguous(), "{}: operand 'dweight' {} is not contiguous", name,
           dweight.shape().to_string());
}

Cost LinearBackwardWeight::cost() const {
  return product_cost(x, dy, dweight, multiply_adds(x, dy));
}

}  // namespace hg
