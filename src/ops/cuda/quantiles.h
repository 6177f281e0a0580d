// Exact quantiles of rows of values, and of all rows together, without sorting: a radix search on
// the bits of the values. Only for .cu files.
#pragma once

#include "ops/cuda/rows.h"

namespace hg {
namespace {

constexpr int kQuantiles = 3, kWanted = 2 * kQuantiles;  // the two neighbours of each quantile
constexpr int kDigitBits = 8, kDigits = 1 << kDigitBits, kLevels = 32 / kDigitBits;
constexpr int kQuantileThreads = 256;
constexpr double quantile_at(int i) { return i == 0 ? 0.01 : i == 1 ? 0.5 : 0.99; }

/// Keys are the bits of f32 values, changed such that their order as unsigned integers is the order
/// of the values. -0 has the key of 0, NaN the lowest.
HG_DEVICE unsigned key_of(float value) {
  const unsigned bits = __float_as_uint(value + 0.0F);
  if (value != value) return 0;
  return bits ^ ((bits & 0x80000000U) != 0 ? 0xffffffffU : 0x80000000U);
}
HG_DEVICE float value_of(unsigned key) {
  return __uint_as_float((key & 0x80000000U) != 0 ? key ^ 0x80000000U : ~key);
}

/// A key that is sought: the digits found so far, and its rank among the keys that begin so.
struct WantedKey {
  unsigned key;
  int rank;
};
/// The keys sought in a row, in ascending order.
struct WantedKeys {
  WantedKey at[kWanted];
};

/// The bits of the digits above `level`.
HG_DEVICE unsigned known_bits(int level) {
  return level == 0 ? 0 : ~0U << (32 - level * kDigitBits);
}
HG_DEVICE unsigned digit_of(unsigned key, int level) {
  return key >> (32 - (level + 1) * kDigitBits) & (kDigits - 1);
}
/// The first key that begins as key `w` does, which counts for all that do.
HG_DEVICE int counter_of(const WantedKey* keys, int w, int level) {
  while (w > 0 && ((keys[w - 1].key ^ keys[w].key) & known_bits(level)) == 0) --w;
  return w;
}

/// Counts [rows + 1, kWanted, kDigits] of the next digit of keys that begin as one sought does, in
/// the row and, last, in all rows. A part of a row a block.
__global__ void __launch_bounds__(kQuantileThreads)
    count_digits(int* __restrict__ counts, const float* __restrict__ values,
                 const WantedKeys* __restrict__ wanted, unsigned rows, std::int64_t length,
                 unsigned parts, int level) {
  HG_SHARED(int, own, [2][kWanted][kDigits]);
  HG_SHARED(WantedKeys, keys, [2]);
  const unsigned row = blockIdx.x / parts, part = blockIdx.x % parts, thread = threadIdx.x;
  for (unsigned i = thread; i < 2 * kWanted * kDigits; i += kQuantileThreads)
    own[i / (kWanted * kDigits)][i / kDigits % kWanted][i % kDigits] = 0;
  if (thread < 2 * kWanted) {
    const unsigned which = thread / kWanted, w = thread % kWanted;
    keys[which].at[w] = wanted[which == 0 ? row : rows].at[w];
  }
  __syncthreads();
  const unsigned known = known_bits(level);
  for (std::int64_t i = part * kQuantileThreads + thread; i < length;
       i += static_cast<std::int64_t>(parts) * kQuantileThreads) {
    const unsigned key = key_of(values[row * length + i]);
    for (int which = 0; which < 2; ++which) {
      for (int w = 0; w < kWanted; ++w) {
        if (((key ^ keys[which].at[w].key) & known) != 0) continue;
        atomicAdd(&own[which][w][digit_of(key, level)], 1);
        break;  // the first counts
      }
    }
  }
  __syncthreads();
  for (unsigned i = thread; i < 2 * kWanted * kDigits; i += kQuantileThreads) {
    const unsigned which = i / (kWanted * kDigits), rest = i % (kWanted * kDigits);
    const int more = own[which][rest / kDigits][rest % kDigits];
    if (more > 0) atomicAdd(&counts[(which == 0 ? row : rows) * (kWanted * kDigits) + rest], more);
  }
}

/// Finds the next digit of each key sought, a row a block, and clears its counts.
__global__ void __launch_bounds__(kQuantileThreads)
    find_digits(WantedKeys* __restrict__ wanted, int* __restrict__ counts, int level) {
  HG_SHARED(int, own, [kWanted][kDigits]);
  HG_SHARED(WantedKeys, keys, [1]);
  const int thread = static_cast<int>(threadIdx.x);
  int* const its = counts + blockIdx.x * (kWanted * kDigits);
  for (int i = thread; i < kWanted * kDigits; i += kQuantileThreads) {
    own[i / kDigits][i % kDigits] = its[i];
    its[i] = 0;
  }
  if (thread < kWanted) keys[0].at[thread] = wanted[blockIdx.x].at[thread];
  __syncthreads();
  if (thread >= kWanted) return;
  const int* of_digit = own[counter_of(keys[0].at, thread, level)];
  WantedKey key = keys[0].at[thread];
  unsigned digit = 0;
  for (; digit < kDigits - 1 && key.rank >= of_digit[digit]; ++digit) key.rank -= of_digit[digit];
  key.key |= digit << (32 - (level + 1) * kDigitBits);
  wanted[blockIdx.x].at[thread] = key;
}

/// Quantiles of rows of `length` values, and of all.
struct QuantileRanks {
  int of_row[kWanted], of_all[kWanted];
};
__global__ void __launch_bounds__(kQuantileThreads)
    begin_search(WantedKeys* __restrict__ wanted, int* __restrict__ counts, QuantileRanks ranks) {
  const bool all = blockIdx.x + 1 == gridDim.x;
  for (unsigned i = threadIdx.x; i < kWanted * kDigits; i += kQuantileThreads)
    counts[blockIdx.x * (kWanted * kDigits) + i] = 0;
  for (int w = 0; threadIdx.x == 0 && w < kWanted; ++w)
    wanted[blockIdx.x].at[w] = {0, all ? ranks.of_all[w] : ranks.of_row[w]};
}

/// The neighbours' ranks among `count` values.
inline void set_ranks(int (&ranks)[kWanted], std::int64_t count) {
  for (int i = 0; i < kQuantiles; ++i) {
    const auto rank = static_cast<int>(quantile_at(i) * static_cast<double>(count - 1));
    ranks[2 * i] = rank;
    ranks[2 * i + 1] = std::min(rank + 1, static_cast<int>(count - 1));
  }
}

/// Quantile `i` of `count` values, as numpy.quantile computes it by default.
HG_DEVICE float quantile(const WantedKeys& found, int i, std::int64_t count) {
  const double place = quantile_at(i) * static_cast<double>(count - 1);
  const double below = static_cast<double>(value_of(found.at[2 * i].key)),
               above = static_cast<double>(value_of(found.at[2 * i + 1].key));
  if (below == above) return static_cast<float>(below);  // infinite, maybe
  return static_cast<float>(below + (place - floor(place)) * (above - below));
}

/// Elements of memory for counts.
constexpr std::int64_t quantile_counts(std::int64_t rows) { return (rows + 1) * kWanted * kDigits; }

/// Finds what quantile() takes, for every row of values [R, n] f32 and, last, for all rows; wanted
/// is [R + 1, kWanted, 2] i32, counts quantile_counts(R) of i32.
inline void find_quantiles(const Tensor& wanted, const Tensor& counts, const ConstTensor& values,
                           cudaStream_t stream) {
  const std::int64_t rows = values.dim(0), length = values.dim(1);
  auto* keys = static_cast<WantedKeys*>(wanted.data());
  auto* of_digits = counts.as<std::int32_t>();
  QuantileRanks ranks{};
  set_ranks(ranks.of_row, length);
  set_ranks(ranks.of_all, rows * length);
  const dim3 all(static_cast<unsigned>(rows + 1)), threads(kQuantileThreads);
  launch(begin_search, all, threads, 0, stream, keys, of_digits, ranks);
  constexpr std::int64_t kOfPart = 32 * kQuantileThreads;  // values, or more where rows are long
  const unsigned parts = std::min(blocks_of(length, kOfPart), 64U);
  for (int level = 0; level < kLevels; ++level) {
    launch(count_digits, dim3(static_cast<unsigned>(rows) * parts), threads, 0, stream, of_digits,
           values.as<float>(), keys, static_cast<unsigned>(rows), length, parts, level);
    launch(find_digits, all, threads, 0, stream, keys, of_digits, level);
  }
}

}  // namespace
}  // namespace hg
