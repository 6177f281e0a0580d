// The forward pass in blocks, for either kind of products. Only for files in ops/cpu/kernels.
#pragma once

#include "core/parallel.h"
#include "ops/attention.h"
#include "ops/cpu/kernels/attention_softmax.h"

namespace hg {
namespace {

/// Packs rows for `scores`: [width / element pair or f32, query].
template <class Products>
void pack_columns(float* to, const typename Products::Element* rows, std::int64_t tokens,
                  std::int64_t width) {
  const std::int64_t words = width * static_cast<std::int64_t>(sizeof(*rows)) / 4;
  transpose(to, Products::kBlock, reinterpret_cast<const float*>(rows), words,
            Products::padded(tokens), words);
}

/// to[token] = column `token` of `from` times `factor`, as the element type of `to`. `room` has one
/// block.
template <class Products, class T>
void store_columns(Rows<T> to, Range tokens, const float* from, float* room, std::int64_t d,
                   std::int64_t width, float factor) {
  transpose(room, width, from, Products::kBlock, width, Products::padded(tokens.size()));
  for (std::int64_t i = 0; i < tokens.size(); ++i) {
    T* row = to[tokens.begin + i];
    for_lanes(d, [&](std::int64_t c, auto lanes) {
      store(row + c, load(room + i * width + c, lanes) * factor, lanes);
    });
  }
}

/// Attention of one block of queries of one head over the keys of its slice.
template <class Products, class T>
class ForwardTask {
 public:
  using Element = typename Products::Element;
  static constexpr std::int64_t kBlock = Products::kBlock;

  ForwardTask(const AttentionForward& op, PackedKeys<const Element> k, PackedKeys<const Element> v,
              ScratchCutter scratch)
      : op_(op), k_(k), v_(v), d_(op.q.dim(3)), width_(Products::width(d_)), products_(d_) {
    rows_ = scratch.take<Element>(kBlock * width_);
    columns_ = scratch.take<float>(kBlock * width_);
    values_ = scratch.take<Element>(products_.factor_size(kBlock));
    output_ = scratch.take<float>(kBlock * width_);
    room_ = scratch.take<float>(kBlock * width_);
    scores_ = scratch.take<float>(kBlock * Products::kRow);
    weights_ = products_.weights(scores_, Products::Use::forward, scratch);
    softmax_ = {.maximum = scratch.take<float>(kBlock),
                .sum = scratch.take<float>(kBlock),
                .factor_of_output = scratch.take<float>(kBlock),
                .factor = op.scale * std::numbers::log2e_v<float>};
  }

  void run(const Slice& slice, Range queries, std::int64_t j, std::int64_t g) {
    const std::int64_t count = queries.size();
    copy_rows(rows_, width_, head_rows<T>(op_.q, j, g), queries.begin, count,
              Products::padded(count), d_);
    pack_columns<Products>(columns_, rows_, count, width_);
    std::fill_n(output_, width_ * kBlock, 0.0F);
    softmax_.reset(kBlock);
    const std::int64_t shift = slice.shift();
    for_blocks(slice.keys, {slice.keys.begin, queries.end + shift}, kBlock, [&](Range keys) {
      const std::int64_t n = keys.size();
      const Causal causal{keys.begin - (queries.begin + shift)};
      products_.scores(scores_, k_.row(j, keys.begin), columns_, n, count, causal);
      softmax_.template add<Products>(scores_, weights_, output_, d_, n, count, causal);
      const Element* v = products_.by_head(v_.row(j, keys.begin), values_, n);
      products_.add_to_queries(output_, v, weights_, n, count, causal);
    });
    const std::int64_t head = j * op_.q.dim(2) + g;
    softmax_.finish(output_, kBlock,
                    op_.lse.template as<float>() + head * op_.q.dim(0) + queries.begin, d_, count);
    store_columns<Products>(head_rows<T>(op_.o, j, g), queries, output_, room_, d_, width_, 1.0F);
  }

 private:
  const AttentionForward& op_;
  PackedKeys<const Element> k_, v_;
  std::int64_t d_, width_;
  Products products_;
  Element *rows_, *values_;
  float *columns_, *output_, *room_, *scores_;
  typename Products::Weights weights_;
  OnlineSoftmax softmax_;
};

/// The whole op: a task takes the blocks of queries that begin in a piece of the tokens, for one
/// head.
template <class Products, class T>
void attention_forward(const AttentionForward& op, Context& ctx) {
  const std::int64_t tokens = op.q.dim(0), group = op.q.dim(2), heads = op.q.dim(1) * group;
  const Slices slices(op.documents, op.keys, tokens, op.k.dim(0));
  const ArenaScope scope(ctx.scratch);
  const AttentionForward::Scratch scratch = op.scratch(ctx);
  const std::int64_t width = Products::width(op.q.dim(3));
  const auto [k, v] =
      pack_keys<T, typename Products::Element>({scratch.k, scratch.v}, {op.k, op.v}, width);
  const std::int64_t pieces = ceil_div(tokens, Products::kBlock);
  parallel_for(heads * pieces, [&, k = k, v = v](std::int64_t task, int worker) {
    const std::int64_t head = task / pieces;
    const std::int64_t piece =
        pieces - 1 - task % pieces;  // the late ones see the most keys: they go first
    const Range starts{piece * Products::kBlock, std::min((piece + 1) * Products::kBlock, tokens)};
    ForwardTask<Products, T> state(op, k, v, ScratchCutter(scratch.blocks, worker));
    for_slices(slices, starts, [&](const Slice& slice) {
      for_blocks(slice.queries, starts, Products::kBlock,
                 [&](Range queries) { state.run(slice, queries, head / group, head % group); });
    });
  });
}

}  // namespace
}  // namespace hg
