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

/// The rows of a token that were not dropped, in the order of its choices.
template <class T>
class TokenRows {
 public:
  TokenRows(T* data, std::int64_t h, const ConstTensor& rows, std::int64_t t) {
    const std::int64_t k = rows.dim(1);
    for (const std::int32_t row :
         std::span(rows.as<std::int32_t>() + t * k, static_cast<std::size_t>(k))) {
      if (row >= 0) rows_[size_++] = data + row * h;
    }
  }
  T* const* begin() const { return rows_.data(); }
  T* const* end() const { return rows_.data() + size_; }

 private:
  std::array<T*, kMaxExperts> rows_;  // not initialised
  std::size_t size_ = 0;
};

/// Copies a row, and fetches the line of `next` that corresponds to each line it writes. Rows lie
/// apart, so that no hardware foresees the next one.
void copy_row(std::byte* to, const std::byte* from, std::int64_t bytes, const std::byte* next) {
  constexpr std::int64_t kLine = 64;
  std::int64_t i = 0;
  for (; i + kLine <= bytes; i += kLine) {
    __builtin_prefetch(next + i, 1);
    std::memcpy(to + i, from + i, kLine);
  }
  std::memcpy(to + i, from + i, static_cast<std::size_t>(bytes - i));
}

void permute(const Permute& op) {
  const std::int64_t k = op.rows.dim(1), bytes = op.x.dim(1) * size_of(op.x.dtype());
  const auto* rows = op.rows.as<std::int32_t>();
  const auto* x = static_cast<const std::byte*>(op.x.data());
  auto* y = static_cast<std::byte*>(op.y.data());
  parallel_ranges(op.x.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * k; i < end * k; ++i) {
      if (rows[i] < 0) continue;
      const bool more = i + 1 < end * k && rows[i + 1] >= 0;
      copy_row(y + rows[i] * bytes, x + i / k * bytes, bytes, y + rows[more ? i + 1 : i] * bytes);
    }
  });
}

template <class T>
void unpermute(const Unpermute& op) {
  const std::int64_t h = op.y.dim(1), all = op.y.dim(0);
  const std::int64_t used =
      op.used ? std::min<std::int64_t>(*op.used.as<std::int32_t>(), all) : all;
  parallel_ranges(used, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const TokenRows rows(op.x.as<T>(), h, op.rows, t);
      const TokenRows next(op.x.as<T>(), h, op.rows, t + 1 < end ? t + 1 : t);
      const T* base = op.base ? op.base.as<T>() + t * h : nullptr;
      T* y = op.y.as<T>() + t * h;
      for_lanes(h, [&](std::int64_t i, auto lanes) {
        F32 sum = base != nullptr ? load(base + i, lanes) : F32{};
        for (const T* row : next) __builtin_prefetch(row + i);
        for (const T* row : rows) sum += load(row + i, lanes);
        store(y + i, sum, lanes);
      });
    }
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const ExpertPlan& op, Context& ctx) {
  plan(op, ctx);
}

template <>
void cpu_kernel<kIsa>(const Permute& op, Context&) {
  permute(op);
}

template <>
void cpu_kernel<kIsa>(const Unpermute& op, Context&) {
  for_float_type(op.x.dtype(), [&]<class T>() { unpermute<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const PermuteWeights& op, Context&) {
  const auto* rows = op.rows.as<std::int32_t>();
  const float* x = op.x.as<float>();
  float* y = op.y.as<float>();
  for (std::int64_t i = 0; i < op.rows.numel(); ++i) {
    if (rows[i] >= 0) y[rows[i]] = x[i];
  }
}

template <>
void cpu_kernel<kIsa>(const UnpermuteWeights& op, Context&) {
  const auto* rows = op.rows.as<std::int32_t>();
  const float* x = op.x.as<float>();
  float* y = op.y.as<float>();
  for (std::int64_t i = 0; i < op.rows.numel(); ++i) y[i] = rows[i] >= 0 ? x[rows[i]] : 0.0F;
}

}  // namespace hg
