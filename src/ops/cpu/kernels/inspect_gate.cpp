// CPU bodies of ops/inspect_gate.h. Scores are made anew in each of three visits, a task per head:
// the first takes all statistics but the quantiles, for which each visit finds one more digit.
#include "ops/inspect_gate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/kernels/activation.h"
#include "ops/cpu/kernels/inspect_lanes.h"
#include "ops/cpu/radix_select.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

HG_INLINE U32 keys_of(F32 x) {
  const I32 bits = reinterpret_cast<I32>(x);
  return reinterpret_cast<U32>(bits ^ (bits >> 31 | std::numeric_limits<std::int32_t>::min()));
}

template <class T, class Lanes>
HG_INLINE F32 load_strided(const T* p, std::int64_t stride, Lanes lanes) {
  if (stride == 1) return load(p, lanes);
  F32 x{};
  for (std::int64_t i = 0; i < lanes.count; ++i) x[i] = static_cast<float>(p[i * stride]);
  return x;
}

/// Adds the digits of each live lane's key to a tree.
template <int level>
HG_INLINE void add_keys(RadixTree& tree, F32 scores, std::int64_t count) {
  alignas(64) std::uint32_t keys[kLanes];
  const U32 all = keys_of(scores);
  std::memcpy(keys, &all, sizeof(keys));
  for (std::int64_t i = 0; i < count; ++i) tree.add<level>(keys[i]);
}

/// What the first visit gathers of a head, lane by lane: sums of masks, see count().
struct Tally {
  I32 below_005{}, below_01{}, below_05{}, above_095{}, nan{};
  F32 largest{};
  double sum = 0;

  HG_INLINE void add(F32 logit, F32 score, I32 here) {
    below_005 += here & (score < 0.05F);
    below_01 += here & (score < 0.1F);
    below_05 += here & (score < 0.5F);
    above_095 += here & (score > 0.95F);
    nan += here & (score != score);
    largest = max(absolute(logit), largest);  // what is not live was loaded as 0
  }
};

/// The bin of each lane; kBins where there is no score.
HG_INLINE I32 bins_of(F32 score, I32 here) {
  constexpr auto kBins = static_cast<std::int32_t>(GateScores::kBins);
  const F32 place = min(splat(kBins - 1), max(splat(0.0F), score * static_cast<float>(kBins)));
  const I32 bin = __builtin_convertvector(place, I32);
  return (here & (score == score)) ? bin : I32{} + kBins;
}

template <class T>
class Head {
 public:
  Head(const GateScores& op, std::int64_t head)
      : op_(op),
        head_(head),
        logits_(Heads<const T>(op.logits).at(0, head / op.logits.dim(2), head % op.logits.dim(2))),
        tokens_(op.logits.dim(0)),
        elements_(op.logits.dim(3)) {}

  /// The first visit: everything but quantiles into the op's results, first digits into `tree`.
  void measure(float* token_sums, RadixTree& tree) const {
    Tally tally;
    std::array<std::uint32_t, GateScores::kBins + 1> bins{};
    for (std::int64_t t = 0; t < tokens_; ++t) {
      F32 row{};
      visit(t, [&](F32 logit, F32 score, auto lanes) {
        const I32 here = live(lanes);
        tally.add(logit, score, here);
        row += here ? score : F32{};
        alignas(64) std::int32_t bin[kLanes];
        const I32 all = bins_of(score, here);
        std::memcpy(bin, &all, sizeof(bin));
        for (const std::int32_t b : bin) ++bins[static_cast<std::size_t>(b)];
        add_keys<0>(tree, score, lanes.count);
      });
      token_sums[t] = reduce_add(row);
      tally.sum += token_sums[t];
    }
    store(tally);
    for (std::size_t b = 0; b < GateScores::kBins; ++b) {
      op_.histogram.as<float>()[head_ * GateScores::kBins + static_cast<std::int64_t>(b)] =
          static_cast<float>(bins[b]);
    }
  }

  /// A further visit: digit `level` of what the tree follows.
  template <int level>
  void descend(RadixTree& tree) const {
    for (std::int64_t t = 0; t < tokens_; ++t) {
      visit(t, [&](F32, F32 score, auto lanes) { add_keys<level>(tree, score, lanes.count); });
    }
  }

 private:
  template <class Fn>
  HG_INLINE void visit(std::int64_t t, Fn&& fn) const {
    const T* row = logits_ + t * op_.logits.stride(0);
    const std::int64_t stride = op_.logits.stride(3);
    for_lanes(elements_, [&](std::int64_t i, auto lanes) {
      const F32 logit = load_strided(row + i * stride, stride, lanes);
      fn(logit, op_.scale * activate(op_.activation, logit), lanes);
    });
  }

  void store(const Tally& tally) const {
    const auto total = static_cast<double>(tokens_ * elements_);
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
  }

  const GateScores& op_;
  std::int64_t head_;
  const T* logits_;
  std::int64_t tokens_, elements_;
};

/// The trees of heads, and what each head and all together want.
class Search {
 public:
  Search(const GateScores& op, const GateScores::Scratch& scratch)
      : op_(op), scratch_(scratch), count_(op.logits.dim(0) * op.logits.dim(3)) {}

  std::int64_t heads() const { return scratch_.trees.dim(0); }
  RadixTree tree(std::int64_t head) const {
    return RadixTree(scratch_.trees.as<std::int32_t>() + head * scratch_.trees.dim(1));
  }
  void begin() const {
    for (std::int64_t row = 0; row <= heads(); ++row) want_quantiles(wanted(row), scores(row));
  }
  /// Makes room in a head's tree for digit `level`.
  void plant(RadixTree& tree, std::int64_t head, int level) const {
    for (const std::int64_t row : {head, heads()}) {
      for (const WantedKey& w : wanted(row)) tree.plant(w.key, level);
    }
  }
  /// Digit `level`, counted in all trees, of every key.
  void find(int level) const {
    parallel_for(heads() + 1, [&](std::int64_t row) {
      const auto trees = std::views::transform([this](std::int64_t head) { return tree(head); });
      const std::int64_t end = row < heads() ? row + 1 : heads();
      find_digits(wanted(row), std::views::iota(row < heads() ? row : 0, end) | trees, level);
    });
  }
  void store(std::int64_t row) const {
    constexpr std::array kColumns{GateScores::kQuantile01, GateScores::kMedian,
                                  GateScores::kQuantile99};
    float* statistics = op_.heads.as<float>() + row * GateScores::kStatistics;
    for (std::size_t i = 0; i < kColumns.size(); ++i) {
      const bool nan = std::isnan(statistics[GateScores::kLargestLogit]);
      statistics[kColumns[i]] = nan ? kNaN : quantile(wanted(row), i, scores(row));
    }
  }

 private:
  std::int64_t scores(std::int64_t row) const { return row < heads() ? count_ : heads() * count_; }
  std::span<WantedKey, kWantedKeys> wanted(std::int64_t row) const {
    auto* all = static_cast<WantedKey*>(scratch_.wanted.data());
    return std::span<WantedKey, kWantedKeys>(all + row * kWantedKeys, kWantedKeys);
  }

  const GateScores& op_;
  const GateScores::Scratch& scratch_;
  std::int64_t count_;  // scores of a head
};

/// The last row but for its quantiles: heads have equally many scores.
void pool_heads(const Tensor& heads) {
  const std::int64_t count = heads.dim(0) - 1;
  float* pooled = heads.as<float>() + count * GateScores::kStatistics;
  for (std::int64_t column = 0; column < GateScores::kStatistics; ++column) {
    double sum = 0;
    float largest = 0;
    for (std::int64_t head = 0; head < count; ++head) {
      const float value = heads.as<float>()[head * GateScores::kStatistics + column];
      sum += value;
      if (!(value <= largest)) largest = value;
    }
    const bool nan = std::isnan(sum);
    if (column == GateScores::kLargestLogit) {
      pooled[column] = nan ? kNaN : largest;
    } else {
      pooled[column] = static_cast<float>(sum / static_cast<double>(count));
    }
  }
}

void average_tokens(const Tensor& tokens, const ConstTensor& sums, std::int64_t elements) {
  const std::int64_t heads = sums.dim(0), count = sums.dim(1);
  constexpr std::int64_t kGrain = 1024;
  parallel_ranges(count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      double sum = 0;
      for (std::int64_t head = 0; head < heads; ++head) sum += sums.as<float>()[head * count + t];
      tokens.as<float>()[t] = static_cast<float>(sum / static_cast<double>(heads * elements));
    }
  });
}

template <class T>
void gate_scores(const GateScores& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const GateScores::Scratch scratch = op.scratch(ctx);
  const Search search(op, scratch);
  search.begin();
  parallel_for(search.heads(), [&](std::int64_t head) {
    RadixTree tree = search.tree(head);
    tree.clear();
    Head<T>(op, head).measure(scratch.tokens.as<float>() + head * op.logits.dim(0), tree);
  });
  search.find(0);
  const auto visit = [&]<int level>() {
    parallel_for(search.heads(), [&](std::int64_t head) {
      RadixTree tree = search.tree(head);
      search.plant(tree, head, level);
      Head<T>(op, head).template descend<level>(tree);
    });
    search.find(level);
  };
  visit.template operator()<1>();
  visit.template operator()<2>();
  pool_heads(op.heads);
  for (std::int64_t row = 0; row <= search.heads(); ++row) search.store(row);
  average_tokens(op.tokens, scratch.tokens, op.logits.dim(3));
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const GateScores& op, Context& ctx) {
  for_float_type(op.logits.dtype(), [&]<class T>() { gate_scores<T>(op, ctx); });
}

}  // namespace hg
