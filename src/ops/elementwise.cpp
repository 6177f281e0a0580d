#include "ops/elementwise.h"

#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// Checks an operand that must match `like`, which is a matrix.
void check_matrix(std::string_view op, const char* operand, const ConstTensor& tensor,
                  const ConstTensor& like) {
  HG_CHECK(like.rank() == 2, "{}: operand '{}' should match {}, which is no matrix", op, operand,
           like.shape().to_string());
  check_slice(op, operand, tensor, like.shape(), like.dtype());
}

void check_limit(std::string_view op, float limit) {
  HG_CHECK(limit > 0, "{}: the limit is {}, expected a positive number", op, limit);
}

}  // namespace

void Add::check() const {
  check_matrix(name, "x", x, y);
  check_matrix(name, "y", y, y);
  if (base) check_matrix(name, "base", base, y);
}

Cost Add::cost() const {
  return {.flops = static_cast<double>(y.numel()), .bytes = 3.0 * static_cast<double>(y.bytes())};
}

void Add::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void ClipForward::check() const {
  check_matrix(name, "x", x, x);
  check_matrix(name, "y", y, x);
  check_limit(name, limit);
}

Cost ClipForward::cost() const {
  return {.flops = 2.0 * static_cast<double>(x.numel()),
          .bytes = 2.0 * static_cast<double>(x.bytes())};
}

void ClipForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void ClipBackward::check() const {
  check_matrix(name, "y", y, y);
  check_matrix(name, "dy", dy, y);
  check_matrix(name, "dx", dx, y);
  check_limit(name, limit);
}

Cost ClipBackward::cost() const {
  return {.flops = 2.0 * static_cast<double>(y.numel()),
          .bytes = 3.0 * static_cast<double>(y.bytes())};
}

void ClipBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void Zero::check() const { check_contiguous(name, "y", y, y.shape(), y.dtype()); }

Cost Zero::cost() const { return {.bytes = static_cast<double>(y.bytes())}; }

void Zero::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
