#include "support/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

double loss_of(const GradientCheck& check) {
  check.forward();
  double loss = 0;
  for (const auto& [y, dy] : check.outputs) {
    for (std::int64_t i = 0; i < y.numel(); ++i) loss += double{get(y, i)} * double{get(dy, i)};
  }
  return loss;
}

}  // namespace

double relative_error(const ConstTensor& a, const ConstTensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double difference = 0, norm = 0;
  for (std::int64_t i = 0; i < b.numel(); ++i) {
    const double x = get(a, i), y = get(b, i);
    difference += (x - y) * (x - y);
    norm += y * y;
  }
  if (difference == 0) return 0;
  return std::sqrt(difference / norm);
}

bool same_bits(const ConstTensor& a, const ConstTensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.bytes())) == 0;
}

void expect_gradients(const GradientCheck& check, double step) {
  for (const auto& input : check.inputs) {
    Tensors memory;
    const Tensor numeric = memory.empty(input.x.shape());
    for (std::int64_t i = 0; i < input.x.numel(); ++i) {
      const float original = get(input.x, i);
      const auto up = static_cast<float>(original + step),
                 down = static_cast<float>(original - step);
      set(input.x, i, up);
      const double above = loss_of(check);
      set(input.x, i, down);
      const double below = loss_of(check);
      set(input.x, i, original);
      set(numeric, i, static_cast<float>((above - below) / (double{up} - double{down})));
    }
    EXPECT_LT(relative_error(input.dx, numeric), kFiniteDifference) << "gradient of " << input.name;
  }
  check.forward();
}

}  // namespace hg::test
