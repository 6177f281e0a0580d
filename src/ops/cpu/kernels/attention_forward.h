// The forward pass in blocks, for either kind of products. Only for files in ops/cpu/kernels.
#pragma once

#include "core/parallel.h"
#include "ops/attention.h"
#include "ops/cpu/kernels/attention_softmax.h"

namespace hg {
namespace {

/// Head `g` of group `j` of a tensor [T, KV, G, D].
template <class T, class AnyTensor>
auto head_rows(const AnyTensor& tensor, std::int64_t j, std::int64_t g = 0) {
  auto* data = tensor.template as<T>() + j * tensor.stride(1) + g * tensor.stride(2);
  return Rows<std::remove_pointer_t<decltype(data)>>{data, tensor.stride(0)};
}

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

/// Attention of one block of queries of one head over its document.
template <class Products, class T>
class ForwardTask {
 public:
  using Element = typename Products::Element;
  static constexpr std::int64_t kBlock = Products::kBlock;

  ForwardTask(const AttentionForward& op, ScratchCutter scratch)
      : op_(op), d_(op.q.dim(3)), products_(d_), width_(products_.width()) {
    rows_ = scratch.take<Element>(kBlock * width_);
    columns_ = scratch.take<float>(kBlock * width_);
    values_ = scratch.take<Element>(products_.factor_size(kBlock));
    output_ = scratch.take<float>(kBlock * width_);
    room_ = scratch.take<float>(kBlock * width_);
    scores_ = scratch.take<float>(kBlock * kBlock);
    weights_ = products_.weights(scores_, Products::Use::forward, scratch);
    softmax_ = {.maximum = scratch.take<float>(kBlock),
                .sum = scratch.take<float>(kBlock),
                .factor = op.scale * std::numbers::log2e_v<float>};
  }

  void run(Range document, Range queries, std::int64_t j, std::int64_t g) {
    const auto q = head_rows<T>(op_.q, j, g), k = head_rows<T>(op_.k, j),
               v = head_rows<T>(op_.v, j);
    const std::int64_t count = queries.size();
    copy_rows(rows_, width_, q, queries.begin, count, Products::padded(count), d_);
    pack_columns<Products>(columns_, rows_, count, width_);
    std::fill_n(output_, width_ * kBlock, 0.0F);
    softmax_.reset(kBlock);
    for_blocks(document, {document.begin, queries.end}, kBlock, [&](Range keys) {
      const std::int64_t n = keys.size();
      const Causal causal{keys.begin - queries.begin};
      copy_rows(rows_, width_, k, keys.begin, n, Products::padded(n), d_);
      products_.scores(scores_, rows_, columns_, n, count, causal);
      softmax_.template add<Products>(scores_, weights_, output_, d_, n, count, causal);
      copy_rows(rows_, width_, v, keys.begin, n, Products::padded(n), d_);
      products_.add_to_queries(output_, products_.by_head(rows_, values_, n), weights_, n, count,
                               causal);
    });
    const std::int64_t head = j * op_.q.dim(2) + g;
    softmax_.finish(output_, kBlock,
                    op_.lse.template as<float>() + head * op_.q.dim(0) + queries.begin, d_, count);
    store_columns<Products>(head_rows<T>(op_.o, j, g), queries, output_, room_, d_, width_, 1.0F);
  }

 private:
  const AttentionForward& op_;
  std::int64_t d_;
  Products products_;
  std::int64_t width_;
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
  const auto bounds = checked_documents(op.documents, tokens);
  const ArenaScope scope(ctx.scratch);
  const Tensor blocks = op.scratch(ctx);
  const std::int64_t pieces = ceil_div(tokens, Products::kBlock);
  parallel_for(heads * pieces, [&](std::int64_t task, int worker) {
    const std::int64_t head = task / pieces;
    const std::int64_t piece =
        pieces - 1 - task % pieces;  // the late ones see the most keys: they go first
    const Range starts{piece * Products::kBlock, std::min((piece + 1) * Products::kBlock, tokens)};
    ForwardTask<Products, T> state(
        op, ScratchCutter(blocks.as<float>() + worker * blocks.dim(1), blocks.dim(1)));
    for_documents(bounds, starts, [&](Range document) {
      for_blocks(document, starts, Products::kBlock,
                 [&](Range queries) { state.run(document, queries, head / group, head % group); });
    });
  });
}

}  // namespace
}  // namespace hg
