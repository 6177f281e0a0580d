// A layer of experts to run ops/grouped_linear.h on, and what it must compute.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "ops/grouped_linear.h"
#include "support/tensors.h"

namespace hg::test {

using Counts = std::vector<std::int32_t>;

/// Rows of each expert, and a few behind them that belong to nobody; extents of y = x W^T.
struct GroupedSizes {
  Counts counts;
  std::int64_t k, n;
  std::int64_t spare = 3;
};

/// One grouped layer in one element type.
struct GroupedLayer {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Counts bounds{0};
  std::int64_t rows;
  Tensor offsets, x, weight, dy, y, dx, dweight;

  GroupedLayer(Isa isa, const GroupedSizes& s, DType dtype) : ctx(cpu_context(isa)) {
    for (const std::int32_t count : s.counts) bounds.push_back(bounds.back() + count);
    const auto e = static_cast<std::int64_t>(s.counts.size());
    rows = bounds.back() + s.spare;
    offsets = memory.integers(bounds);
    x = memory.normal("x", {rows, s.k}, dtype);
    weight = memory.normal("weight", {e, s.n, s.k}, dtype);
    dy = memory.normal("dy", {rows, s.n}, dtype);
    y = memory.empty({rows, s.n}, dtype);
    dx = memory.empty({rows, s.k}, dtype);
    dweight = memory.empty({e, s.n, s.k});
    for (const Tensor& tensor : {x, dy}) {  // what belongs to nobody must not be used
      for (std::int64_t i = used() * tensor.dim(1); i < tensor.numel(); ++i) set(tensor, i, NAN);
    }
  }
  GroupedLinearForward forward_op() const {
    return {.y = y, .x = x, .weight = weight, .offsets = offsets};
  }
  GroupedLinearBackwardInput backward_input_op() const {
    return {.dx = dx, .dy = dy, .weight = weight, .offsets = offsets};
  }
  GroupedLinearBackwardWeight backward_weight_op(bool accumulate = false) const {
    return {.dweight = dweight, .dy = dy, .x = x, .offsets = offsets, .accumulate = accumulate};
  }
  void forward() { hg::run(*ctx, forward_op()); }
  void backward(bool accumulate = false) {
    hg::run(*ctx, backward_input_op());
    hg::run(*ctx, backward_weight_op(accumulate));
  }
  void run() {
    forward();
    backward();
  }
  std::int64_t used() const { return bounds.back(); }
  std::int64_t expert_of(std::int64_t row) const {
    return std::ranges::upper_bound(bounds, row) - bounds.begin() - 1;
  }
};

/// The same products in double, rounded to f32; of y and dx the rows in use.
struct GroupedReference {
  Tensors memory;
  Tensor y, dx, dweight;

  explicit GroupedReference(const GroupedLayer& layer) {
    const std::int64_t n = layer.y.dim(1), k = layer.x.dim(1), e = layer.weight.dim(0);
    y = memory.empty({layer.used(), n});
    dx = memory.empty({layer.used(), k});
    dweight = memory.empty({e, n, k});
    const Tensor x = memory.copy(layer.x, DType::f32), dy = memory.copy(layer.dy, DType::f32);
    const Tensor weight = memory.copy(layer.weight, DType::f32);
    std::vector<double> of_y(static_cast<std::size_t>(y.numel()));
    std::vector<double> of_dx(static_cast<std::size_t>(dx.numel()));
    std::vector<double> of_dweight(static_cast<std::size_t>(dweight.numel()));
    for (std::int64_t r = 0; r < layer.used(); ++r) {
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t row_of_weight = layer.expert_of(r) * n + i;
        const auto at = static_cast<std::size_t>(r * n + i);
        for (std::int64_t j = 0; j < k; ++j) {
          const double w = double{weight.as<float>()[row_of_weight * k + j]};
          const double in = double{x.as<float>()[r * k + j]};
          const double out = double{dy.as<float>()[r * n + i]};
          of_y[at] += in * w;
          of_dx[static_cast<std::size_t>(r * k + j)] += out * w;
          of_dweight[static_cast<std::size_t>(row_of_weight * k + j)] += out * in;
        }
      }
    }
    round(of_y, y), round(of_dx, dx), round(of_dweight, dweight);
  }

 private:
  static void round(const std::vector<double>& from, const Tensor& to) {
    std::ranges::transform(from, to.as<float>(), [](double v) { return static_cast<float>(v); });
  }
};

}  // namespace hg::test
