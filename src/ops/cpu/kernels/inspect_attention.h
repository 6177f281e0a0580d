// The entropy of attention in blocks, for either kind of products: the scores of the forward pass,
// without its output. Only for files in ops/cpu/kernels.
#pragma once

#include "ops/cpu/kernels/attention_forward.h"
#include "ops/cpu/kernels/inspect_lanes.h"
#include "ops/inspect_attention.h"

namespace hg {
namespace {

/// One key's part of the entropies of a vector of queries, in bits, and its scores.
struct EntropyTerm {
  F32 bits{};
  F32 score = splat(kLowest);
};
HG_INLINE EntropyTerm keep(I32 mask, const EntropyTerm& x) {
  return {keep(mask, x.bits), mask ? x.score : splat(kLowest)};
}

/// What a head has added up over some queries.
struct EntropySum {
  double nats = 0;
  float highest = kLowest;  // score, before scaling
};

/// Adds a block of keys to the entropies and the highest scores of a block of queries. Scores are
/// [key, query]; `denominator` is log2 of each query's.
template <class Products>
void add_entropy(const float* scores, const float* denominator, float factor, float* bits,
                 float* highest, std::int64_t keys, std::int64_t queries, Causal causal) {
  constexpr std::int64_t kRow = Products::kRow;
  for (std::int64_t query = 0; query < queries; query += kLanes) {
    const F32 log_sum = load(denominator + query);
    F32 sum = load(bits + query), sum2{}, top = load(highest + query);
    for_key_pairs(
        query, keys, 0, causal,
        [&](std::int64_t key) {
          const F32 score = load(scores + key * kRow + query);
          const F32 log_p = max(splat(-126), score * factor - log_sum);  // p log p is 0 there
          return EntropyTerm{-exp2(log_p) * log_p, score};
        },
        [&](std::int64_t, const EntropyTerm& first, const EntropyTerm& second) {
          sum += first.bits;
          sum2 += second.bits;
          top = max(top, max(first.score, second.score));
        });
    store(bits + query, sum + sum2);
    store(highest + query, top);
  }
}

/// One block of queries of one head over the keys of its slice.
template <class Products, class T>
class EntropyTask {
 public:
  using Element = typename Products::Element;
  static constexpr std::int64_t kBlock = Products::kBlock;
  static_assert(kBlock >= AttentionEntropy::kSmallestBlock);

  EntropyTask(const AttentionEntropy& op, ScratchCutter scratch)
      : op_(op), d_(op.q.dim(3)), width_(Products::width(d_)), products_(d_) {
    queries_ = scratch.take<Element>(kBlock * width_);
    columns_ = scratch.take<float>(kBlock * width_);
    keys_ = scratch.take<Element>(kBlock * width_);
    scores_ = scratch.take<float>(kBlock * Products::kRow);
    denominator_ = scratch.take<float>(kBlock);
    bits_ = scratch.take<float>(kBlock);
    highest_ = scratch.take<float>(kBlock);
  }

  void run(const Slice& slice, Range queries, std::int64_t j, std::int64_t g, EntropySum& total) {
    const std::int64_t count = queries.size();
    copy_rows(queries_, width_, head_rows<T>(op_.q, j, g), queries.begin, count,
              Products::padded(count), d_);
    pack_columns<Products>(columns_, queries_, count, width_);
    std::fill_n(denominator_, kBlock, 0.0F);
    std::fill_n(bits_, kBlock, 0.0F);
    std::fill_n(highest_, kBlock, kLowest);
    const float* lse = op_.lse.template as<float>() + (j * op_.q.dim(2) + g) * op_.q.dim(0);
    for (std::int64_t i = 0; i < count; ++i) {
      denominator_[i] = lse[queries.begin + i] * std::numbers::log2e_v<float>;
    }
    const std::int64_t shift = slice.shift();
    for_blocks(slice.keys, {slice.keys.begin, queries.end + shift}, kBlock, [&](Range block) {
      const std::int64_t n = block.size();
      const Causal causal{block.begin - (queries.begin + shift)};
      copy_rows(keys_, width_, head_rows<T>(op_.k, j), block.begin, n, Products::padded(n), d_);
      products_.scores(scores_, keys_, columns_, n, count, causal);
      add_entropy<Products>(scores_, denominator_, op_.scale * std::numbers::log2e_v<float>, bits_,
                            highest_, n, count, causal);
    });
    for (std::int64_t i = 0; i < count; ++i) {
      total.nats += bits_[i] * std::numbers::ln2_v<double>;
      total.highest = std::max(total.highest, highest_[i]);
    }
  }

 private:
  const AttentionEntropy& op_;
  std::int64_t d_, width_;
  Products products_;
  Element *queries_, *keys_;
  float *columns_, *scores_, *denominator_, *bits_, *highest_;
};

/// The whole op: a task takes the blocks of queries that begin in a piece of the tokens, for one
/// head.
template <class Products, class T>
void attention_entropy(const AttentionEntropy& op, Context& ctx) {
  const std::int64_t tokens = op.q.dim(0), group = op.q.dim(2), heads = op.q.dim(1) * group;
  const Slices slices(op.documents, op.keys, tokens, op.k.dim(0));
  const ArenaScope scope(ctx.scratch);
  const AttentionEntropy::Scratch scratch = op.scratch(ctx);
  const std::int64_t pieces = ceil_div(tokens, Products::kBlock);
  auto* partials = scratch.partials.as<float>();
  parallel_for(heads * pieces, [&](std::int64_t task, int worker) {
    const std::int64_t head = task / pieces;
    const std::int64_t piece =
        pieces - 1 - task % pieces;  // the late ones see the most keys: they go first
    const Range starts{piece * Products::kBlock, std::min((piece + 1) * Products::kBlock, tokens)};
    EntropyTask<Products, T> state(op, ScratchCutter(scratch.blocks, worker));
    EntropySum sum;
    for_slices(slices, starts, [&](const Slice& slice) {
      for_blocks(slice.queries, starts, Products::kBlock, [&](Range queries) {
        state.run(slice, queries, head / group, head % group, sum);
      });
    });
    float* partial = partials + (head * pieces + piece) * 2;
    partial[0] = static_cast<float>(sum.nats);
    partial[1] = sum.highest;
  });
  for (std::int64_t head = 0; head < heads; ++head) {
    EntropySum total;
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const float* partial = partials + (head * pieces + piece) * 2;
      total.nats += partial[0];
      total.highest = std::max(total.highest, partial[1]);
    }
    float* out = op.out.as<float>() + head * 2;
    out[0] = static_cast<float>(total.nats / static_cast<double>(op.k.dim(0)));
    out[1] = std::isnan(total.nats) ? kNaN : op.scale * total.highest;
  }
}

}  // namespace
}  // namespace hg
