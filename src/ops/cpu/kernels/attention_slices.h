// Cutting slices of packed documents into blocks. Blocks are counted from the start of their slice,
// and those of keys from the start of their document, so that they, and with them the order of
// every sum, do not depend on how work is cut into tasks. Only for files in ops/cpu/kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ranges>
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

/// Queries and the keys that the last of them sees.
struct Slice {
  Range queries, keys;
  /// What leads from the row of a query to that of the last key it sees.
  std::int64_t shift() const { return keys.end - queries.end; }
};

/// Slices [first, last) of one document: their keys begin with the same one.
struct Document {
  std::int64_t first, last;
  Range keys;  // of the last slice, and so of all
};

/// The slices of an op, see ops/attention.h.
class Slices {
 public:
  /// Throws unless queries ascend from 0 to `queries`, and the keys of a slice are those of the
  /// slice before and more, or lie behind them. An empty slice is allowed.
  Slices(const ConstTensor& documents, const ConstTensor& keys, std::int64_t queries,
         std::int64_t key_rows)
      : bounds_(documents.as<std::int32_t>(), static_cast<std::size_t>(documents.dim(0))),
        keys_(keys ? keys.as<std::int32_t>() : nullptr) {
    HG_CHECK(bounds_.front() == 0 && bounds_.back() == queries && std::ranges::is_sorted(bounds_),
             "attention: documents begin at {} and end at {}, expected ascending bounds from 0 to "
             "{}",
             bounds_.front(), bounds_.back(), queries);
    if (keys_ == nullptr) return;
    Range before{0, 0};
    for (std::int64_t i = 0; i < size(); ++i) {
      const Slice slice = (*this)[i];
      const bool follows = slice.keys.begin >= before.end ||
                           (slice.keys.begin == before.begin && slice.keys.end >= before.end);
      HG_CHECK(follows && slice.queries.size() <= slice.keys.size() && slice.keys.end <= key_rows,
               "attention: slice {} of {} queries sees keys {} to {} of {} behind one that sees {} "
               "to {}",
               i, slice.queries.size(), slice.keys.begin, slice.keys.end, key_rows, before.begin,
               before.end);
      before = slice.keys;
    }
  }

  std::int64_t size() const { return std::ssize(bounds_) - 1; }
  Slice operator[](std::int64_t i) const {
    const Range queries{at(i), at(i + 1)};
    return {queries, keys_ == nullptr ? queries : Range{keys_[2 * i], keys_[2 * i + 1]}};
  }
  /// Whether there may be keys that no query sees.
  bool leaves_keys_out() const { return keys_ != nullptr; }
  /// The document whose first slice this is.
  Document document(std::int64_t first) const {
    Range keys = (*this)[first].keys;
    std::int64_t last = first + 1;
    for (; last < size() && (*this)[last].keys.begin == keys.begin; ++last)
      keys.end = (*this)[last].keys.end;
    return {first, last, keys};
  }
  /// The slice of a query.
  std::int64_t holding(std::int64_t query) const {
    return std::ranges::upper_bound(bounds_, query) - bounds_.begin() - 1;
  }

 private:
  std::int64_t at(std::int64_t i) const { return bounds_[static_cast<std::size_t>(i)]; }

  std::span<const std::int32_t> bounds_;  // of queries
  const std::int32_t* keys_;              // null: the same rows
};

/// Calls fn(block) for the blocks of `size` tokens of `whole` that begin in `starts`, in order.
template <class Fn>
void for_blocks(Range whole, Range starts, std::int64_t size, Fn&& fn) {
  const std::int64_t first = ceil_div(std::max(starts.begin - whole.begin, std::int64_t{0}), size);
  const std::int64_t last = std::min(starts.end, whole.end);
  for (std::int64_t begin = whole.begin + first * size; begin < last; begin += size) {
    fn(Range{begin, std::min(begin + size, whole.end)});
  }
}

/// Calls fn(slice) for each slice that has queries among `queries`, in order.
template <class Fn>
void for_slices(const Slices& slices, Range queries, Fn&& fn) {
  for (std::int64_t i = slices.holding(queries.begin); i < slices.size(); ++i) {
    const Slice slice = slices[i];
    if (slice.queries.begin >= queries.end) return;
    if (slice.queries.size() > 0) fn(slice);
  }
}

/// Calls fn(document) for each document of the slices, in order.
template <class Fn>
void for_documents(const Slices& slices, Fn&& fn) {
  for (std::int64_t i = 0; i < slices.size();) {
    const Document document = slices.document(i);
    if (document.keys.size() > 0) fn(document);
    i = document.last;
  }
}

/// ... that has keys among `keys`.
template <class Fn>
void for_documents(const Slices& slices, Range keys, Fn&& fn) {
  const auto all = std::views::iota(std::int64_t{0}, slices.size());
  const auto ends_before = [&](std::int64_t i) { return slices[i].keys.end <= keys.begin; };
  std::int64_t first = std::ranges::partition_point(all, ends_before) - all.begin();
  if (first == slices.size()) return;
  while (first > 0 && slices[first - 1].keys.begin == slices[first].keys.begin) --first;
  while (first < slices.size()) {
    const Document document = slices.document(first);
    if (document.keys.begin >= keys.end) return;
    if (document.keys.size() > 0) fn(document);
    first = document.last;
  }
}

}  // namespace
}  // namespace hg
