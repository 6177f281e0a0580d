// Quantiles of rows of values, and of all rows together, in parallel over rows. Only for files in
// ops/cpu/kernels.
#pragma once

#include <ranges>

#include "core/parallel.h"
#include "core/tensor.h"
#include "ops/cpu/kernels/inspect_lanes.h"
#include "ops/cpu/radix_select.h"

namespace hg {
namespace {

/// A search over R rows of n values. The last row of what is wanted stands for all rows.
class QuantileSearch {
 public:
  struct Operands {
    Tensor values;       // [R, n] f32; lost
    ConstTensor ranges;  // [R, 2] f32: lowest and highest value
    Tensor trees;        // [R, RadixTree::size(2 kWantedKeys)] i32: room
    Tensor wanted;       // [R + 1, kWantedKeys, 2] i32: room
    Tensor kept;         // [R] i32: room
  };

  explicit QuantileSearch(const Operands& operands)
      : at_(operands),
        rows_(operands.values.dim(0)),
        length_(operands.values.dim(1)),
        digits_(digits_of(operands.ranges)) {
    for (std::int64_t row = 0; row <= rows_; ++row) want_quantiles(wanted(row), count(row));
  }

  void run() const {
    parallel_for(rows_, [&](std::int64_t row) { count_first(row); });
    find(0);
    if (digits_.levels > 1) parallel_for(rows_, [&](std::int64_t row) { keep_wanted(row); });
    for (int level = 1; level < digits_.levels; ++level) {
      parallel_for(rows_, [&](std::int64_t row) { count_kept(row, level); });
      find(level);
    }
  }

  /// kQuantiles[i] of a row, or of all in row R. NaN counts as the lowest value.
  float quantile(std::int64_t row, std::size_t i) const {
    return hg::quantile(wanted(row), digits_, i, count(row));
  }

 private:
  /// How keys between the lowest and the highest value of all are cut.
  static KeyDigits digits_of(const ConstTensor& ranges) {
    float lowest = kInfinity, highest = -kInfinity;
    for (std::int64_t row = 0; row < ranges.dim(0); ++row) {
      lowest = std::min(lowest, ranges.as<float>()[2 * row]);
      highest = std::max(highest, ranges.as<float>()[2 * row + 1]);
    }
    if (lowest > highest) return {0, 0};  // nothing but NaN
    return {key_of(lowest), key_of(highest)};
  }

  std::int64_t count(std::int64_t row) const { return row < rows_ ? length_ : rows_ * length_; }
  float* values(std::int64_t row) const { return at_.values.as<float>() + row * length_; }
  std::int32_t& kept(std::int64_t row) const { return at_.kept.as<std::int32_t>()[row]; }
  RadixTree tree(std::int64_t row) const {
    return {at_.trees.as<std::int32_t>() + row * at_.trees.dim(1), digits_};
  }
  WantedKeys wanted(std::int64_t row) const {
    return WantedKeys(static_cast<WantedKey*>(at_.wanted.data()) + row * kWantedKeys, kWantedKeys);
  }

  /// key_of for each lane, less the lowest; 0 for NaN.
  HG_INLINE U32 keys_of(F32 x) const {
    const I32 bits = reinterpret_cast<I32>(x + 0.0F);
    const U32 keys = reinterpret_cast<U32>(bits ^ (bits >> 31 | static_cast<std::int32_t>(kSign)));
    return x == x ? keys - digits_.lowest : U32{};
  }

  void count_first(std::int64_t row) const {
    RadixTree counts = tree(row);
    counts.clear();
    for_lanes(length_, [&](std::int64_t i, auto lanes) {
      alignas(64) std::uint32_t digits[kLanes];
      const U32 all = keys_of(load(values(row) + i, lanes)) >> digits_.shift[0];
      std::memcpy(digits, &all, sizeof(digits));
      for (std::int64_t lane = 0; lane < lanes.count; ++lane) counts.add_first(digits[lane]);
    });
  }

  /// Moves the keys that begin as one that is sought to the front, in place of the values.
  void keep_wanted(std::int64_t row) const {
    std::array<U32, 2 * kWantedKeys> firsts;
    std::size_t distinct = 0;
    for (const std::int64_t r : {row, rows_}) {
      for (const WantedKey& w : wanted(r)) {
        const std::uint32_t first = w.key >> digits_.shift[0];
        if (distinct == 0 || firsts[distinct - 1][0] != first) firsts[distinct++] = U32{} + first;
      }
    }
    float* const to = values(row);
    std::int32_t keys_kept = 0;
    for_lanes(length_, [&](std::int64_t i, auto lanes) {
      const U32 keys = keys_of(load(to + i, lanes)), digits = keys >> digits_.shift[0];
      I32 match{};
      for (std::size_t f = 0; f < distinct; ++f) match |= digits == firsts[f];
      if (reduce_max(match ? splat(1) : F32{}) == 0) return;
      for (std::int64_t lane = 0; lane < lanes.count; ++lane) {
        if (match[lane] != 0) to[keys_kept++] = std::bit_cast<float>(keys[lane]);
      }
    });
    kept(row) = keys_kept;
  }

  void count_kept(std::int64_t row, int level) const {
    RadixTree counts = tree(row);
    for (const std::int64_t r : {row, rows_}) {
      for (const WantedKey& w : wanted(r)) counts.plant(w.key, level);
    }
    for (std::int32_t i = 0; i < kept(row); ++i) {
      counts.add(std::bit_cast<std::uint32_t>(values(row)[i]), level);
    }
  }

  void find(int level) const {
    parallel_for(rows_ + 1, [&](std::int64_t row) {
      const auto trees = std::views::transform([this](std::int64_t r) { return tree(r); });
      const auto rows =
          row < rows_ ? std::views::iota(row, row + 1) : std::views::iota(std::int64_t{0}, rows_);
      find_digits(wanted(row), rows | trees, digits_, level);
    });
  }

  Operands at_;
  std::int64_t rows_, length_;
  KeyDigits digits_;
};

}  // namespace
}  // namespace hg
