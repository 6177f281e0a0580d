// CPU bodies of ops/dispatch.h. A task takes whole tokens: it writes their rows, which nobody else
// has, or sums them in the order of the token's choices.
#include "ops/dispatch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // tokens a task takes

/// Turns what each piece chose of an expert into where the piece starts among the expert's choices.
/// Returns their number.
std::int32_t start_pieces(const Tensor& pieces, std::int64_t expert) {
  std::int32_t total = 0;
  auto* starts = pieces.as<std::int32_t>() + expert;
  for (std::int64_t p = 0; p < pieces.dim(0); ++p) {
    std::int32_t& start = starts[p * pieces.dim(1)];
    const std::int32_t chosen = start;
    start = total;
    total += chosen;
  }
  return total;
}

void plan(const ExpertPlan& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = op.scratch(ctx);
  const std::int64_t k = op.experts.dim(1), count = op.counts.dim(0);
  const std::int64_t choices = op.experts.numel(), grain = ExpertPlan::kTokensPerPiece * k;
  const auto* experts = op.experts.as<std::int32_t>();
  auto *rows = op.rows.as<std::int32_t>(), *counts = op.counts.as<std::int32_t>(),
       *offsets = op.offsets.as<std::int32_t>();
  const auto piece_at = [&](std::int64_t choice) {
    return pieces.as<std::int32_t>() + choice / grain * count;
  };
  parallel_ranges(choices, grain, [&](std::int64_t begin, std::int64_t end) {
    std::int32_t* chosen = piece_at(begin);
    std::fill_n(chosen, count, 0);
    for (std::int64_t i = begin; i < end; ++i) ++chosen[experts[i]];
  });

  const std::int64_t capacity = op.capacity > 0 ? std::min(op.capacity, choices) : choices;
  offsets[0] = 0;
  for (std::int64_t e = 0; e < count; ++e) {
    counts[e] = std::min(start_pieces(pieces, e), static_cast<std::int32_t>(capacity));
    offsets[e + 1] = offsets[e] + counts[e];
  }
  *op.dropped.as<std::int32_t>() = static_cast<std::int32_t>(choices) - offsets[count];

  parallel_ranges(choices, grain, [&](std::int64_t begin, std::int64_t end) {
    std::int32_t* next = piece_at(begin);
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int32_t e = experts[i], place = next[e]++;
      rows[i] = place < capacity ? offsets[e] + place : -1;
    }
  });
}

/// A choice of a token that was not dropped.
template <class T>
struct Choice {
  T* row;
  float weight;
};

/// The choices of a token that were not dropped, in order.
template <class T>
class Choices {
 public:
  /// `weights` [T, K] may be absent: 1 each.
  Choices(T* data, std::int64_t h, const ConstTensor& rows, const ConstTensor& weights,
          std::int64_t t) {
    const std::int64_t k = rows.dim(1);
    for (std::int64_t i = t * k; i < (t + 1) * k; ++i) {
      const std::int32_t row = rows.as<std::int32_t>()[i];
      if (row < 0) continue;
      choices_[size_++] = {data + row * h, weights ? weights.as<float>()[i] : 1.0F};
    }
  }
  auto begin() const { return choices_.begin(); }
  auto end() const { return choices_.begin() + size_; }

 private:
  std::array<Choice<T>, kMaxExperts> choices_;  // not initialised
  std::size_t size_ = 0;
};

template <class T>
void permute(const PermuteForward& op) {
  const std::int64_t h = op.x.dim(1);
  parallel_ranges(op.x.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const T* x = op.x.as<T>() + t * h;
      for (const Choice<T>& to : Choices<T>(op.y.as<T>(), h, op.rows, {}, t))
        std::memcpy(to.row, x, static_cast<std::size_t>(h) * sizeof(T));
    }
  });
}

/// y[t] = the weighted sum of its rows of x.
template <class T>
void combine(const Tensor& y, const ConstTensor& x, const ConstTensor& rows,
             const ConstTensor& weights) {
  const std::int64_t h = y.dim(1);
  parallel_ranges(y.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const Choices<const T> choices(x.as<T>(), h, rows, weights, t);
      T* to = y.as<T>() + t * h;
      for_lanes(h, [&](std::int64_t i, auto lanes) {
        F32 sum{};
        for (const auto& [row, weight] : choices) sum += weight * load(row + i, lanes);
        store(to + i, sum, lanes);
      });
    }
  });
}

template <class T>
void combine_backward(const CombineBackward& op) {
  const std::int64_t h = op.dy.dim(1), k = op.rows.dim(1);
  const auto* rows = op.rows.as<std::int32_t>();
  const float* weights = op.weights.as<float>();
  float* dweights = op.dweights.as<float>();
  parallel_ranges(op.dy.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * k; i < end * k; ++i) {
      dweights[i] = 0;
      if (rows[i] < 0) continue;
      const T *dy = op.dy.as<T>() + i / k * h, *x = op.x.as<T>() + rows[i] * h;
      T* dx = op.dx.as<T>() + rows[i] * h;
      F32 dot{};
      for_lanes(h, [&](std::int64_t j, auto lanes) {
        const F32 gradient = load(dy + j, lanes);
        dot += gradient * load(x + j, lanes);
        store(dx + j, weights[i] * gradient, lanes);
      });
      dweights[i] = reduce_add(dot);
    }
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const ExpertPlan& op, Context& ctx) {
  plan(op, ctx);
}

template <>
void cpu_kernel<kIsa>(const PermuteForward& op, Context&) {
  for_float_type(op.x.dtype(), [&]<class T>() { permute<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const PermuteBackward& op, Context&) {
  for_float_type(op.dy.dtype(), [&]<class T>() { combine<T>(op.dx, op.dy, op.rows, {}); });
}

template <>
void cpu_kernel<kIsa>(const CombineForward& op, Context&) {
  for_float_type(op.x.dtype(), [&]<class T>() { combine<T>(op.y, op.x, op.rows, op.weights); });
}

template <>
void cpu_kernel<kIsa>(const CombineBackward& op, Context&) {
  for_float_type(op.x.dtype(), [&]<class T>() { combine_backward<T>(op); });
}

}  // namespace hg
