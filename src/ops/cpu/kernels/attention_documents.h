// Cutting packed documents into blocks. Blocks are counted from the start of their document, so
// that they, and with them the order of every sum, do not depend on how work is cut into tasks.
// Only for files in ops/cpu/kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/check.h"
#include "core/tensor.h"

namespace hg {
namespace {

/// Tokens [begin, end).
struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

/// The bounds as numbers; throws unless they ascend from 0 to `tokens`. An empty document is
/// allowed.
inline std::span<const std::int32_t> checked_documents(const ConstTensor& documents,
                                                       std::int64_t tokens) {
  const std::span bounds(documents.as<std::int32_t>(), static_cast<std::size_t>(documents.dim(0)));
  HG_CHECK(bounds.front() == 0 && bounds.back() == tokens && std::ranges::is_sorted(bounds),
           "attention: documents begin at {} and end at {}, expected ascending bounds from 0 to {}",
           bounds.front(), bounds.back(), tokens);
  return bounds;
}

/// Calls fn(block) for the blocks of `size` tokens of `document` that begin in `starts`, in order.
template <class Fn>
void for_blocks(Range document, Range starts, std::int64_t size, Fn&& fn) {
  const std::int64_t first =
      ceil_div(std::max(starts.begin - document.begin, std::int64_t{0}), size);
  const std::int64_t last = std::min(starts.end, document.end);
  for (std::int64_t begin = document.begin + first * size; begin < last; begin += size) {
    fn(Range{begin, std::min(begin + size, document.end)});
  }
}

/// Calls fn(document) for each document that has tokens in `tokens`, in order.
template <class Fn>
void for_documents(std::span<const std::int32_t> bounds, Range tokens, Fn&& fn) {
  auto end =
      std::ranges::upper_bound(bounds, tokens.begin);  // of the document that holds the first
  for (; end != bounds.end() && *(end - 1) < tokens.end; ++end) {
    if (*(end - 1) < *end) fn(Range{*(end - 1), *end});
  }
}

}  // namespace
}  // namespace hg
