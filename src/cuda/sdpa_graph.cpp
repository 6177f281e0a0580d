// The operations, their order and the types between them are those that cuDNN's engines for
// attention match; see "Attention" in its documentation of graphs.
#include "cuda/sdpa_graph.h"

#include <utility>

namespace hg {
namespace {

using Kind = SdpaGraph::Kind;
using Type = SdpaGraph::Type;
using Extents = SdpaGraph::Extents;

Extents packed(const Extents& dims) {
  Extents strides{0, 0, 0, 1};
  for (std::size_t i = 3; i > 0; --i) strides[i - 1] = strides[i] * dims[i];
  return strides;
}

class Builder {
 public:
  explicit Builder(const SdpaShape& shape)
      : shape_(shape),
        scores_{shape.batch, shape.heads, shape.length, shape.length},
        rows_{shape.batch, shape.heads, shape.length, 1},
        heads_{shape.batch, shape.heads, shape.length, shape.d} {
    offsets_.fill(-1);
    if (shape.ragged) lengths_ = input(SdpaOperand::lengths, Type::i32, {shape.batch, 1, 1, 1});
  }

  SdpaGraph take() { return std::move(graph_); }

  /// [batch, heads, length, d] of tokens `stride` elements apart.
  int rows_of(SdpaOperand operand, std::int64_t heads, std::int64_t stride, SdpaOperand offsets,
              Type type = Type::bf16) {
    const Extents dims{shape_.batch, heads, shape_.length, shape_.d};
    return add(
        {dims, {shape_.length * stride, shape_.d, stride, 1}, type, operand, offsets_of(offsets)});
  }
  int queries(SdpaOperand operand, Type type = Type::bf16) {
    return rows_of(operand, shape_.heads, shape_.heads * shape_.d, SdpaOperand::q_offsets, type);
  }
  int keys() {
    return rows_of(SdpaOperand::k, shape_.kv_heads, shape_.k_stride, SdpaOperand::k_offsets);
  }
  int values() {
    return rows_of(SdpaOperand::v, shape_.kv_heads, shape_.v_stride, SdpaOperand::v_offsets);
  }
  /// One f32 for each query of each head.
  int of_rows(SdpaOperand operand) {
    const std::int64_t h = shape_.heads, s = shape_.length;
    const Extents strides = shape_.ragged ? Extents{s * h, 1, h, 1} : packed(rows_);
    return add({rows_, strides, Type::f32, operand, offsets_of(SdpaOperand::stats_offsets)});
  }
  int scalar(SdpaOperand operand) { return input(operand, Type::f32, {1, 1, 1, 1}); }

  int transposed(int matrix) {
    SdpaGraph::Tensor& its = graph_.tensors[static_cast<std::size_t>(matrix)];
    std::swap(its.dims[2], its.dims[3]);
    std::swap(its.strides[2], its.strides[3]);
    return matrix;
  }

  int apply(Kind kind, int x, int b, int y) { return node({.kind = kind, .x = x, .b = b, .y = y}); }
  int score(Kind kind, int x, int b = -1) { return apply(kind, x, b, between(scores_)); }
  int row(Kind kind, int x, int b = -1) { return apply(kind, x, b, between(rows_)); }

  /// Products by which of their extents are tokens of a document.
  int queries_by_keys(int x, int b) {
    return node({.kind = Kind::product,
                 .x = x,
                 .b = b,
                 .y = between(scores_),
                 .m = lengths_,
                 .n = lengths_});
  }
  int of_scores(int x, int b, int y) {
    return node({.kind = Kind::product, .x = x, .b = b, .y = y, .m = lengths_, .k = lengths_});
  }

  /// A score that its query does not see is the lowest.
  int masked(int scores) {
    const int lowest = scalar(SdpaOperand::lowest);
    if (shape_.ragged) {
      const int row = index(Kind::row, scores), column = index(Kind::column, scores);
      const int real_row = truth(Kind::below, row, lengths_);
      const int real_column = truth(Kind::below, column, lengths_);
      scores = select(scores, lowest, truth(Kind::both, real_row, real_column));
    }
    const int row = index(Kind::row, scores), column = index(Kind::column, scores);
    return select(scores, lowest, truth(Kind::not_below, row, column));
  }

  /// The sum over queries of x^T y, x being scores: gradients of keys or values, `per_head` before
  /// they are summed over the query heads of a group.
  void of_keys(int x, int y, SdpaOperand per_head, SdpaOperand result) {
    const auto [b, h, s, d] = heads_;
    const int turned =
        apply(Kind::reshape, x, -1, add({scores_, {h * s * s, s * s, 1, s}, Type::bf16}));
    const int sum = rows_of(result, shape_.kv_heads, shape_.kv_heads * d, SdpaOperand::dkv_offsets);
    if (h == shape_.kv_heads) {
      of_scores(turned, y, sum);
      return;
    }
    // cuDNN multiplies the offsets of the sum by the heads of a group.
    const int heads = shape_.ragged ? rows_of(per_head, h, h * d, SdpaOperand::dkv_offsets)
                                    : add({heads_, packed(heads_), Type::bf16});
    apply(Kind::sum, of_scores(turned, y, heads), -1, sum);
  }

  int between(const Extents& dims, Type type = Type::f32) {
    return add({dims, packed(dims), type});
  }
  void set_type(int tensor, Type type) {
    graph_.tensors[static_cast<std::size_t>(tensor)].type = type;
  }
  const Extents& heads() const { return heads_; }

  /// dq = ds k, in f32 summed over keys.
  void of_queries(int ds, int k_transposed) {
    const SdpaGraph::Tensor its = graph_.tensors[static_cast<std::size_t>(k_transposed)];
    const int k =
        add({.dims = its.dims, .strides = its.strides, .type = Type::f32, .offsets = its.offsets});
    transposed(k);
    apply(Kind::reshape, k_transposed, -1, k);
    if (shape_.deterministic) {
      of_scores(ds, k, queries(SdpaOperand::dq));
      return;
    }
    const int sum = shape_.ragged ? queries(SdpaOperand::dq_sum, Type::f32)
                                  : add({heads_, packed(heads_), Type::f32, SdpaOperand::dq_sum});
    apply(Kind::identity, of_scores(ds, k, sum), -1, queries(SdpaOperand::dq));
  }

 private:
  int add(const SdpaGraph::Tensor& tensor) {
    graph_.tensors.push_back(tensor);
    return static_cast<int>(graph_.tensors.size()) - 1;
  }
  int input(SdpaOperand operand, Type type, const Extents& dims) {
    return add({dims, packed(dims), type, operand});
  }
  int offsets_of(SdpaOperand operand) {
    if (!shape_.ragged) return -1;
    int& tensor = offsets_[static_cast<std::size_t>(operand)];
    if (tensor < 0) tensor = input(operand, Type::i32, {shape_.batch + 1, 1, 1, 1});
    return tensor;
  }
  int node(const SdpaGraph::Node& node) {
    graph_.nodes.push_back(node);
    return node.y;
  }
  int index(Kind kind, int x) { return apply(kind, x, -1, between(scores_, Type::i32)); }
  int truth(Kind kind, int x, int b) { return apply(kind, x, b, between(scores_, Type::boolean)); }
  int select(int x, int b, int condition) {
    return node(
        {.kind = Kind::select, .x = x, .b = b, .condition = condition, .y = between(scores_)});
  }

  const SdpaShape& shape_;
  const Extents scores_, rows_, heads_;
  SdpaGraph graph_;
  int lengths_ = -1;
  std::array<int, static_cast<std::size_t>(SdpaOperand::count)> offsets_{};
};

}  // namespace

SdpaGraph sdpa_forward_graph(const SdpaShape& shape) {
  Builder g(shape);
  const int products = g.queries_by_keys(g.queries(SdpaOperand::q), g.transposed(g.keys()));
  const int scores = g.masked(g.score(Kind::multiply, products, g.scalar(SdpaOperand::scale)));
  const int top = g.row(Kind::max, scores);
  const int p = g.score(Kind::exp, g.score(Kind::subtract, scores, top));
  const int sum = g.row(Kind::sum, p);
  g.apply(Kind::add, top, g.row(Kind::log, sum), g.of_rows(SdpaOperand::stats));
  const int weights = g.score(Kind::divide, p, sum);
  g.set_type(weights, Type::bf16);
  g.of_scores(weights, g.values(), g.queries(SdpaOperand::o));
  return g.take();
}

SdpaGraph sdpa_backward_graph(const SdpaShape& shape) {
  Builder g(shape);
  const int d_o = g.queries(SdpaOperand::d_o), q = g.queries(SdpaOperand::q);
  const int k = g.transposed(g.keys()), scale = g.scalar(SdpaOperand::scale);
  const int dots = g.row(
      Kind::sum, g.apply(Kind::multiply, d_o, g.queries(SdpaOperand::o), g.between(g.heads())));
  const int delta =
      g.apply(Kind::multiply, dots, g.scalar(SdpaOperand::one), g.of_rows(SdpaOperand::delta));

  const int scores = g.score(Kind::multiply, g.queries_by_keys(q, k), scale);
  const int logs = g.score(Kind::subtract, scores, g.of_rows(SdpaOperand::stats));
  const int p = g.score(Kind::exp, g.masked(logs));
  g.of_keys(p, d_o, SdpaOperand::dv_heads, SdpaOperand::dv);

  const int dp = g.queries_by_keys(d_o, g.transposed(g.values()));
  const int unscaled = g.score(Kind::multiply, g.score(Kind::subtract, dp, delta), p);
  const int ds = g.score(Kind::multiply, unscaled, scale);
  g.of_keys(ds, q, SdpaOperand::dk_heads, SdpaOperand::dk);
  g.of_queries(ds, k);
  return g.take();
}

}  // namespace hg
