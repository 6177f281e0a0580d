// CPU bodies of ops/inspect_attention.h: scores one by one, or in f32 blocks; bf16 is widened while
// packing.
#include "ops/cpu/kernels/inspect_attention.h"

#include <cmath>

#include "ops/cpu/dtypes.h"

namespace hg {
namespace {

constexpr std::int64_t kPiece = FirstTokenShare::kTokensPerPiece;

/// What of a query's attention goes to one key.
template <class T>
float probability(const T* query, const T* key, std::int64_t d, float scale, float lse) {
  F32 dot{};
  for_lanes(
      d, [&](std::int64_t i, auto lanes) { dot += load(query + i, lanes) * load(key + i, lanes); });
  return std::exp(scale * reduce_add(dot) - lse);
}

/// One head's shares in tokens [begin, end): their sum, and that of the later positions.
template <class T>
std::array<double, 2> sum_shares(const FirstTokenShare& op, const Slices& slices, Range queries,
                                 std::int64_t head) {
  const std::int64_t j = head / op.q.dim(2), g = head % op.q.dim(2), d = op.q.dim(3);
  const auto q = head_rows<T>(op.q, j, g), k = head_rows<T>(op.k, j);
  const float* lse = op.lse.as<float>() + head * op.q.dim(0);
  const auto* positions = op.positions.as<std::int32_t>();
  std::array<double, 2> sums{};
  for_slices(slices, queries, [&](const Slice& slice) {
    const T* first = k[slice.keys.begin];
    const std::int64_t end = std::min(queries.end, slice.queries.end);
    for (std::int64_t t = std::max(queries.begin, slice.queries.begin); t < end; ++t) {
      const float share = probability(q[t], first, d, op.scale, lse[t]);
      sums[0] += share;
      if (positions[t + slice.shift()] >= FirstTokenShare::kEarly) sums[1] += share;
    }
  });
  return sums;
}

/// The rows of one head's map for the queries [begin, end).
template <class T>
void fill_map(const AttentionMap& op, const Slices& documents, Range queries, std::int64_t head) {
  const std::int64_t tokens = op.q.dim(0), d = op.q.dim(3);
  const std::int64_t j = head / op.q.dim(2), g = head % op.q.dim(2);
  const auto q = head_rows<T>(op.q, j, g), k = head_rows<T>(op.k, j);
  const float* lse = op.lse.as<float>() + head * tokens;
  float* map = op.out.as<float>() + head * tokens * tokens;
  for_slices(documents, queries, [&](const Slice& document) {
    const std::int64_t first = document.queries.begin;
    const std::int64_t end = std::min(queries.end, document.queries.end);
    for (std::int64_t t = std::max(queries.begin, first); t < end; ++t) {
      float* row = map + t * tokens;
      std::fill_n(row, first, 0.0F);
      for (std::int64_t s = first; s <= t; ++s) {
        row[s] = probability(q[t], k[s], d, op.scale, lse[t]);
      }
      std::fill(row + t + 1, row + tokens, 0.0F);
    }
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const FirstTokenShare& op, Context& ctx) {
  const std::int64_t tokens = op.q.dim(0), heads = op.q.dim(1) * op.q.dim(2);
  const Slices slices(op.documents, op.keys, tokens, op.k.dim(0));
  const ArenaScope scope(ctx.scratch);
  const Tensor room = op.scratch(ctx);
  auto* partials = room.as<float>();
  for_float_type(op.q.dtype(), [&]<class T>() {
    parallel_ranges(tokens, kPiece, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t head = 0; head < heads; ++head) {
        const auto sums = sum_shares<T>(op, slices, {begin, end}, head);
        float* partial = partials + (begin / kPiece * heads + head) * 2;
        for (std::size_t i = 0; i < 2; ++i) partial[i] = static_cast<float>(sums[i]);
      }
    });
  });
  const std::int64_t all = op.k.dim(0);
  const std::span positions(op.positions.as<std::int32_t>(), static_cast<std::size_t>(all));
  const auto late = std::ranges::count_if(
      positions, [](std::int32_t position) { return position >= FirstTokenShare::kEarly; });
  for (std::int64_t i = 0; i < 2 * heads; ++i) {
    double sum = 0;
    for (std::int64_t p = 0; p < room.dim(0); ++p) sum += partials[p * 2 * heads + i];
    op.out.as<float>()[i] = static_cast<float>(sum / static_cast<double>(i % 2 == 0 ? all : late));
  }
}

template <>
void cpu_kernel<kIsa>(const AttentionEntropy& op, Context& ctx) {
  for_float_type(op.q.dtype(), [&]<class T>() { attention_entropy<VectorProducts, T>(op, ctx); });
}

template <>
void cpu_kernel<kIsa>(const AttentionMap& op, Context&) {
  const std::int64_t tokens = op.q.dim(0), heads = op.q.dim(1) * op.q.dim(2);
  const Slices documents(op.documents, {}, tokens, tokens);
  for_float_type(op.q.dtype(), [&]<class T>() {
    parallel_ranges(tokens, kPiece, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t head = 0; head < heads; ++head)
        fill_map<T>(op, documents, {begin, end}, head);
    });
  });
}

}  // namespace hg
