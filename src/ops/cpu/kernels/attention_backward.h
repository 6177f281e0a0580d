// The backward pass in blocks, for either kind of products. Only for files in ops/cpu/kernels.
#pragma once

#include <numeric>

#include "ops/cpu/kernels/attention_forward.h"

namespace hg {
namespace {

/// Gradients that a task makes: all, or those of the queries or of the keys and values alone.
enum class Gradients { all, queries, keys };

/// Keys and values, packed, and the sums of their gradients.
template <class Element>
struct KeySide {
  PackedKeys<const Element> k, v;
  PackedKeys<float> dk, dv;
};

/// One group of heads on some queries and keys of one document. Whichever task adds it, a term
/// comes in the same place of its sum: by head, then by block.
template <class Products, class T>
class BackwardTask {
 public:
  using Element = typename Products::Element;
  static constexpr std::int64_t kBlock = Products::kBlock;

  BackwardTask(const AttentionBackward& op, const KeySide<Element>& keys, ScratchCutter scratch)
      : op_(op), side_(keys), d_(op.q.dim(3)), width_(Products::width(d_)), products_(d_) {
    for (PackedQueries* packed : {&q_, &d_o_}) {
      packed->rows = scratch.take<Element>(kBlock * width_);
      packed->columns = scratch.take<float>(kBlock * width_);
      packed->by_token = scratch.take<Element>(products_.factor_size(kBlock));
    }
    k_by_head_ = scratch.take<Element>(products_.factor_size(kBlock));
    dq_ = scratch.take<float>(kBlock * width_);
    room_ = scratch.take<float>(kBlock * width_);
    scores_ = scratch.take<float>(kBlock * Products::kRow);
    dp_ = scratch.take<float>(kBlock * Products::kRow);
    p_ = products_.weights(scores_, Products::Use::probabilities, scratch);
    ds_ = products_.weights(dp_, Products::Use::gradients, scratch);
    denominator_ = scratch.take<float>(kBlock);
    delta_ = scratch.take<float>(kBlock);
  }

  /// The blocks of `slices` whose queries begin in `queries` and whose keys begin in `keys`, which
  /// are some of their document's.
  void run(const Slices& slices, const Document& document, Range queries, Range keys,
           std::int64_t j, Range heads, Gradients wanted) {
    wanted_ = wanted;
    const Range rows{keys.begin, std::min(keys.end, document.keys.end)};
    if (wanted != Gradients::queries) {
      std::fill_n(side_.dk.row(j, rows.begin), rows.size() * width_, 0.0F);
      std::fill_n(side_.dv.row(j, rows.begin), rows.size() * width_, 0.0F);
    }
    for (std::int64_t g = heads.begin; g < heads.end; ++g) {
      for (std::int64_t i = document.first; i < document.last; ++i) {
        const Slice slice = slices[i];
        for_blocks(slice.queries, queries, kBlock,
                   [&](Range block) { add_queries(slice, block, keys, j, g); });
      }
    }
    if (wanted != Gradients::queries) {
      store_sums(head_rows<T>(op_.dk, j), side_.dk, rows, j, op_.scale);
      store_sums(head_rows<T>(op_.dv, j), side_.dv, rows, j, 1.0F);
    }
  }

 private:
  /// A block of rows as it lies, transposed for `scores`, and as the factor of a sum over tokens.
  struct PackedQueries {
    Element *rows, *by_token;
    float* columns;
  };

  void store_sums(Rows<T> to, PackedKeys<float> sum, Range tokens, std::int64_t j,
                  float factor) const {
    for (std::int64_t t = tokens.begin; t < tokens.end; ++t) {
      const float* from = sum.row(j, t);
      for_lanes(d_, [&](std::int64_t c, auto lanes) {
        store(to[t] + c, load(from + c, lanes) * factor, lanes);
      });
    }
  }

  void pack_queries(Range queries, std::int64_t j, std::int64_t g) {
    const std::int64_t count = queries.size(), padded = Products::padded(count);
    const auto o = head_rows<T>(op_.o, j, g), d_o = head_rows<T>(op_.d_o, j, g);
    copy_rows(q_.rows, width_, head_rows<T>(op_.q, j, g), queries.begin, count, padded, d_);
    copy_rows(d_o_.rows, width_, d_o, queries.begin, count, padded, d_);
    pack_columns<Products>(q_.columns, q_.rows, count, width_);
    pack_columns<Products>(d_o_.columns, d_o_.rows, count, width_);
    const float* lse =
        op_.lse.template as<float>() + (j * op_.q.dim(2) + g) * op_.q.dim(0) + queries.begin;
    std::fill_n(denominator_, padded, 0.0F);
    std::fill_n(delta_, padded, 0.0F);
    for (std::int64_t i = 0; i < count; ++i) {
      F32 dot{};
      for_lanes(d_, [&](std::int64_t c, auto lanes) {
        dot += load(d_o[queries.begin + i] + c, lanes) * load(o[queries.begin + i] + c, lanes);
      });
      delta_[i] = reduce_add(dot);
      denominator_[i] = lse[i] * std::numbers::log2e_v<float>;
    }
  }

  /// One block of queries against all blocks of keys that begin in `keys`, if it sees any.
  void add_queries(const Slice& slice, Range queries, Range keys, std::int64_t j, std::int64_t g) {
    const std::int64_t count = queries.size(), shift = slice.shift();
    const Range seen{keys.begin, std::min(keys.end, queries.end + shift)};
    if (seen.size() <= 0) return;
    pack_queries(queries, j, g);
    const Element* q_by_token = products_.by_token(q_.rows, q_.by_token, count);
    const Element* d_o_by_token = products_.by_token(d_o_.rows, d_o_.by_token, count);
    std::fill_n(dq_, width_ * kBlock, 0.0F);
    for_blocks(slice.keys, seen, kBlock, [&](Range block) {
      const std::int64_t n = block.size();
      const Causal causal{block.begin - (queries.begin + shift)};
      const Element* k = side_.k.row(j, block.begin);
      products_.scores(scores_, k, q_.columns, n, count, causal);
      products_.scores(dp_, side_.v.row(j, block.begin), d_o_.columns, n, count, causal);
      softmax_backward<Products>(scores_, dp_, p_, ds_, denominator_, delta_,
                                 op_.scale * std::numbers::log2e_v<float>, n, count, causal);
      if (wanted_ != Gradients::queries) {
        products_.add_to_keys(side_.dv.row(j, block.begin), p_, d_o_by_token, n, count, causal);
        products_.add_to_keys(side_.dk.row(j, block.begin), ds_, q_by_token, n, count, causal);
      }
      if (wanted_ != Gradients::keys) {
        products_.add_to_queries(dq_, products_.by_head(k, k_by_head_, n), ds_, n, count, causal);
      }
    });
    if (wanted_ != Gradients::keys) {
      store_columns<Products>(head_rows<T>(op_.dq, j, g), queries, dq_, room_, d_, width_,
                              op_.scale);
    }
  }

  const AttentionBackward& op_;
  const KeySide<Element>& side_;
  std::int64_t d_, width_;
  Products products_;
  Gradients wanted_ = Gradients::all;
  PackedQueries q_, d_o_;
  Element* k_by_head_;
  float *dq_, *room_, *scores_, *dp_, *denominator_, *delta_;
  typename Products::Weights p_, ds_;
};

/// A document, by its first slice, and what it costs: products of its queries and the keys they
/// see, twice.
struct Costly {
  std::int32_t first;
  float work;
};

/// The documents that have tokens, those that cost the most first. `room` is [T, 2] i32.
inline std::span<Costly> costliest_first(const Tensor& room, const Slices& slices) {
  auto* order = reinterpret_cast<Costly*>(room.as<std::int32_t>());
  std::size_t count = 0;
  for_documents(slices, [&](const Document& document) {
    double work = 0;
    for (std::int64_t i = document.first; i < document.last; ++i) {
      const double queries = slices[i].queries.size(), keys = slices[i].keys.size();
      work += queries * (2 * keys - queries);
    }
    order[count++] = {static_cast<std::int32_t>(document.first), static_cast<float>(work)};
  });
  const std::span documents(order, count);
  std::ranges::sort(documents, [](const Costly& a, const Costly& b) {
    return a.work != b.work ? a.work > b.work : a.first < b.first;
  });
  return documents;
}

/// Whether to cut documents: dq and dk, dv in passes of their own take 7 products instead of 5, but
/// leave work for every thread. The results are the same, bit by bit.
inline bool cut_documents(std::span<const Costly> documents, std::int64_t groups) {
  double total = 0;
  for (const Costly& document : documents)
    total += static_cast<double>(groups) * double{document.work};
  const double longest = documents.empty() ? 0 : double{documents.front().work};
  const double share = total / num_threads();
  return 5 * std::max(longest, share) > 7 * share;
}

/// dk and dv of the keys that no query sees are zero: of group j.
template <class T>
void clear_unseen(const AttentionBackward& op, const Slices& slices, std::int64_t j) {
  const std::int64_t tokens = op.k.dim(0), d = op.k.dim(3);
  const auto clear = [&](Range keys) {
    for (const Tensor& gradient : {op.dk, op.dv}) {
      const auto rows = head_rows<T>(gradient, j);
      for (std::int64_t t = keys.begin; t < keys.end; ++t) std::fill_n(rows[t], d, T{});
    }
  };
  std::int64_t end = 0;
  for_documents(slices, [&](const Document& document) {
    clear({end, document.keys.begin});
    end = document.keys.end;
  });
  clear({end, tokens});
}

/// The whole op. A task is a document and a group of heads; or, where that leaves threads without
/// work, a piece of the keys and a group, then a piece of the queries and a head.
template <class Products, class T>
void attention_backward(const AttentionBackward& op, Context& ctx) {
  using Element = typename Products::Element;
  constexpr std::int64_t kBlock = Products::kBlock, kKeys = 4 * kBlock;
  const std::int64_t tokens = op.q.dim(0), groups = op.q.dim(1), group = op.q.dim(2);
  const std::int64_t key_tokens = op.k.dim(0);
  const Slices slices(op.documents, op.keys, tokens, key_tokens);
  const ArenaScope scope(ctx.scratch);
  const AttentionBackward::Scratch scratch = op.scratch(ctx);
  const std::int64_t width = Products::width(op.q.dim(3));
  const auto [k, v] = pack_keys<T, Element>({scratch.k, scratch.v}, {op.k, op.v}, width);
  const KeySide<Element> side{k,
                              v,
                              {scratch.dk.as<float>(), key_tokens, width},
                              {scratch.dv.as<float>(), key_tokens, width}};
  const auto task_state = [&](int worker) {
    return BackwardTask<Products, T>(op, side, ScratchCutter(scratch.blocks, worker));
  };
  if (slices.leaves_keys_out())
    parallel_for(groups, [&](std::int64_t j) { clear_unseen<T>(op, slices, j); });
  const auto order = costliest_first(scratch.order, slices);
  if (!cut_documents(order, groups)) {
    parallel_for(std::ssize(order) * groups, [&](std::int64_t task, int worker) {
      const auto i = static_cast<std::size_t>(task / groups);
      const Document document = slices.document(order[i].first);
      task_state(worker).run(slices, document, {0, tokens}, document.keys, task % groups,
                             {0, group}, Gradients::all);
    });
    return;
  }
  const std::int64_t key_pieces = ceil_div(key_tokens, kKeys), pieces = ceil_div(tokens, kBlock);
  parallel_for(groups * key_pieces, [&](std::int64_t task, int worker) {
    const std::int64_t begin = task % key_pieces * kKeys;  // the early ones are seen the most
    auto state = task_state(worker);
    for_documents(slices, {begin, begin + kKeys}, [&](const Document& document) {
      // Whole blocks of the document, so that the rows of one are never shared by two tasks.
      const Range keys = document.keys;
      const auto start = [&](std::int64_t token) {
        return keys.begin + round_up(std::max(token - keys.begin, std::int64_t{0}), kBlock);
      };
      const Range starts{start(begin), std::min(start(begin + kKeys), keys.end)};
      if (starts.size() <= 0) return;
      state.run(slices, document, {0, tokens}, starts, task / key_pieces, {0, group},
                Gradients::keys);
    });
  });
  parallel_for(groups * group * pieces, [&](std::int64_t task, int worker) {
    const std::int64_t head = task / pieces, begin = (pieces - 1 - task % pieces) * kBlock;
    const Range queries{begin, std::min(begin + kBlock, tokens)};
    auto state = task_state(worker);
    for (std::int64_t i = slices.holding(begin);
         i < slices.size() && slices[i].queries.begin < queries.end; ++i) {
      state.run(slices, {i, i + 1, slices[i].keys}, queries, slices[i].keys, head / group,
                {head % group, head % group + 1}, Gradients::queries);
    }
  });
}

}  // namespace
}  // namespace hg
