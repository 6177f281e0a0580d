// Comparisons of tensors: relative error in norm, equality of bits, finite differences.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/tensor.h"

namespace hg::test {

/// |a - b| / |b| over all elements, in double; NaN if either holds one. 0 if both are all zero.
double relative_error(const ConstTensor& a, const ConstTensor& b);

/// True if every bit is the same.
bool same_bits(const ConstTensor& a, const ConstTensor& b);

/// One forward pass, what it computes, and the gradients that the backward under test claims.
struct GradientCheck {
  struct Output {
    ConstTensor y, dy;  // the loss is the sum over outputs of y . dy
  };
  struct Input {
    std::string name;
    Tensor x;        // contiguous f32; elements are nudged and put back
    ConstTensor dx;  // claimed gradient, f32
  };
  std::function<void()> forward;  // recomputes every y from every x
  std::vector<Output> outputs;
  std::vector<Input> inputs;
};

/// Runs central differences over every element of every input, and expects each claimed gradient
/// within kFiniteDifference in norm.
void expect_gradients(const GradientCheck& check, double step = 1e-2);

}  // namespace hg::test
