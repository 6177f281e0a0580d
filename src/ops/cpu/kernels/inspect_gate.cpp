// CPU bodies of ops/inspect_gate.h, a task per head: one visit of the logits gives the scores and
// all statistics but the quantiles, which are found for every head, and for all together, after
// that.
#include "ops/inspect_gate.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/kernels/activation.h"
#include "ops/cpu/kernels/inspect_lanes.h"
#include "ops/cpu/kernels/quantile_search.h"

namespace hg {
namespace {

constexpr auto kBins = static_cast<std::int32_t>(GateScores::kBins);

/// The bin of each lane; kBins where there is no score.
HG_INLINE I32 bins_of(F32 score, I32 here) {
  const F32 place = min(splat(kBins - 1), max(splat(0.0F), score * static_cast<float>(kBins)));
  return here ? __builtin_convertvector(place, I32) : I32{} + kBins;
}

template <class T, class Lanes>
HG_INLINE F32 load_strided(const T* p, std::int64_t stride, Lanes lanes) {
  if (stride == 1) return load(p, lanes);
  F32 x{};
  for (std::int64_t i = 0; i < lanes.count; ++i) x[i] = static_cast<float>(p[i * stride]);
  return x;
}

/// What is gathered of a head, lane by lane.
struct Tally {
  I32 below_005{}, below_01{}, below_05{}, above_095{}, nan{};  // sums of masks, see count()
  F32 largest{}, lowest = splat(kInfinity), highest = splat(-kInfinity);
  double sum = 0;
  // Several of each bin, since an addition to what was just stored has to wait for it.
  static constexpr std::size_t kCopies = 4;
  std::array<std::array<std::int32_t, kBins + 1>, kCopies> bins{};

  HG_INLINE void add(F32 logit, F32 score, I32 live) {
    const I32 here = live & (score == score);
    below_005 += here & (score < 0.05F);
    below_01 += here & (score < 0.1F);
    below_05 += here & (score < 0.5F);
    above_095 += here & (score > 0.95F);
    nan += live & (score != score);
    largest = max(absolute(logit), largest);  // what is not live was loaded as 0
    lowest = min(lowest, here ? score : splat(kInfinity));
    highest = max(highest, here ? score : splat(-kInfinity));
    alignas(64) std::int32_t bin[kLanes];
    const I32 all = bins_of(score, here);
    std::memcpy(bin, &all, sizeof(bin));
    for (std::size_t i = 0; i < kLanes; ++i) ++bins[i % kCopies][static_cast<std::size_t>(bin[i])];
  }
  std::int32_t bin(std::size_t b) const {
    std::int32_t sum_of_copies = 0;
    for (const auto& copy : bins) sum_of_copies += copy[b];
    return sum_of_copies;
  }
};

/// The scores of one head as rows of elements, one for each token.
template <class T>
class Head {
 public:
  Head(const GateScores& op, std::int64_t head)
      : op_(op),
        head_(head),
        logits_(Heads<const T>(op.logits).at(0, head / op.logits.dim(2), head % op.logits.dim(2))),
        headwise_(op.logits.dim(3) == 1),
        rows_(op.logits.dim(0)),
        length_(op.logits.dim(3)),
        row_stride_(op.logits.stride(0)),
        stride_(op.logits.stride(3)) {
    if (!headwise_) return;  // else one long row, with a token in each lane
    std::swap(rows_, length_);
    std::swap(row_stride_, stride_);
  }

  /// Everything but quantiles into the op's results; scores end to end; the lowest and the highest
  /// into range[0:2].
  void measure(float* scores, float* token_sums, float* range) const {
    Tally tally;
    for (std::int64_t r = 0; r < rows_; ++r) {
      F32 sum{};
      prefetch(r + kRowsAhead);
      visit(r, [&](std::int64_t i, F32 logit, F32 score, auto lanes) {
        const I32 here = live(lanes);
        tally.add(logit, score, here);
        sum += here ? score : F32{};
        store(scores + r * length_ + i, score, lanes);
      });
      if (!headwise_) token_sums[r] = reduce_add(sum);
    }
    if (headwise_) std::copy_n(scores, length_, token_sums);
    for (std::int64_t t = 0; t < op_.logits.dim(0); ++t) tally.sum += token_sums[t];
    write(tally);
    range[0] = -reduce_max(-tally.lowest);
    range[1] = reduce_max(tally.highest);
  }

 private:
  static constexpr std::int64_t kRowsAhead = 8;

  template <class Fn>
  HG_INLINE void visit(std::int64_t r, Fn&& fn) const {
    const T* row = logits_ + r * row_stride_;
    for_lanes(length_, [&](std::int64_t i, auto lanes) {
      const F32 logit = load_strided(row + i * stride_, stride_, lanes);
      fn(i, logit, op_.scale * activate(op_.activation, logit), lanes);
    });
  }

  /// The rows of a head lie so far apart that the processor does not see which comes next.
  HG_INLINE void prefetch(std::int64_t r) const {
    if (r >= rows_ || stride_ != 1) return;
    constexpr auto kLine = static_cast<std::int64_t>(64 / sizeof(T));
    for (std::int64_t i = 0; i < length_; i += kLine)
      __builtin_prefetch(logits_ + r * row_stride_ + i);
  }

  void write(const Tally& tally) const {
    const auto total = static_cast<double>(rows_ * length_);
    const auto share = [&](I32 masks) {
      return static_cast<float>(static_cast<double>(count(masks)) / total);
    };
    float* row = op_.heads.as<float>() + head_ * GateScores::kStatistics;
    row[GateScores::kMean] = static_cast<float>(tally.sum / total);
    row[GateScores::kShareBelow005] = share(tally.below_005);
    row[GateScores::kShareBelow01] = share(tally.below_01);
    row[GateScores::kShareBelow05] = share(tally.below_05);
    row[GateScores::kShareAbove095] = share(tally.above_095);
    row[GateScores::kLargestLogit] = count(tally.nan) > 0 ? kNaN : reduce_max(tally.largest);
    float* histogram = op_.histogram.as<float>() + head_ * kBins;
    for (std::size_t b = 0; b < kBins; ++b) histogram[b] = static_cast<float>(tally.bin(b));
  }

  const GateScores& op_;
  std::int64_t head_;
  const T* logits_;
  bool headwise_;
  std::int64_t rows_, length_, row_stride_, stride_;
};

/// The last row but for its quantiles. Heads have equally many scores.
void pool_heads(const Tensor& statistics) {
  const std::int64_t heads = statistics.dim(0) - 1;
  float* pooled = statistics.as<float>() + heads * GateScores::kStatistics;
  for (std::int64_t column = 0; column < GateScores::kStatistics; ++column) {
    double sum = 0;
    float largest = 0;
    for (std::int64_t head = 0; head < heads; ++head) {
      const float value = statistics.as<float>()[head * GateScores::kStatistics + column];
      sum += value;
      largest = std::isnan(sum) ? kNaN : std::max(largest, value);
    }
    pooled[column] = column == GateScores::kLargestLogit
                         ? largest
                         : static_cast<float>(sum / static_cast<double>(heads));
  }
}

void average_tokens(const Tensor& tokens, const ConstTensor& sums, std::int64_t elements) {
  const std::int64_t heads = sums.dim(0), count = sums.dim(1);
  for (std::int64_t t = 0; t < count; ++t) {
    double sum = 0;
    for (std::int64_t head = 0; head < heads; ++head) sum += sums.as<float>()[head * count + t];
    tokens.as<float>()[t] = static_cast<float>(sum / static_cast<double>(heads * elements));
  }
}

void write_quantiles(const GateScores& op, const QuantileSearch& search) {
  constexpr std::array kColumns{GateScores::kQuantile01, GateScores::kMedian,
                                GateScores::kQuantile99};
  for (std::int64_t row = 0; row < op.heads.dim(0); ++row) {
    float* statistics = op.heads.as<float>() + row * GateScores::kStatistics;
    const bool nan = std::isnan(statistics[GateScores::kLargestLogit]);
    for (std::size_t i = 0; i < kColumns.size(); ++i) {
      statistics[kColumns[i]] = nan ? kNaN : search.quantile(row, i);
    }
  }
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const GateScores& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const GateScores::Scratch scratch = op.scratch(ctx);
  const std::int64_t tokens = op.logits.dim(0), elements = op.logits.dim(3);
  for_float_type(op.logits.dtype(), [&]<class T>() {
    parallel_for(scratch.scores.dim(0), [&](std::int64_t head) {
      Head<T>(op, head).measure(scratch.scores.as<float>() + head * tokens * elements,
                                scratch.tokens.as<float>() + head * tokens,
                                scratch.ranges.as<float>() + 2 * head);
    });
  });
  pool_heads(op.heads);
  average_tokens(op.tokens, scratch.tokens, elements);
  QuantileSearch search(
      {scratch.scores, scratch.ranges, scratch.trees, scratch.wanted, scratch.kept});
  search.run();
  write_quantiles(op, search);
}

}  // namespace hg
