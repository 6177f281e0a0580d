// The graphs that cuDNN is given, computed here as they say, against the definition of attention.
#include "cuda/sdpa_graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/attention.h"
#include "support/compare.h"

namespace hg::test {
namespace {

using Kind = SdpaGraph::Kind;
using Values = std::vector<double>;

/// Computes a graph in double. Operands are arrays that are addressed by the tensors' strides and
/// offsets; what passes between operations is [dims] end to end.
class Interpreter {
 public:
  explicit Interpreter(const SdpaGraph& graph) : graph_(graph), values_(graph.tensors.size()) {}

  Values& memory(SdpaOperand operand) { return memory_[static_cast<std::size_t>(operand)]; }

  void run() {
    for (const SdpaGraph::Node& node : graph_.nodes) {
      if (node.kind == Kind::product) {
        multiply(node);
      } else if (node.kind == Kind::reshape) {
        transpose(node);
      } else {
        each(node);
      }
      write(node.y);
    }
  }

 private:
  using Index = SdpaGraph::Extents;

  const SdpaGraph::Tensor& tensor(int i) const { return graph_.tensors.at(std::size_t(i)); }
  Values& memory_of(int i) { return memory(tensor(i).operand); }

  static std::int64_t numel(const Index& dims) { return dims[0] * dims[1] * dims[2] * dims[3]; }
  static std::int64_t place(const Index& dims, const Index& at) {
    return ((at[0] * dims[1] + at[1]) * dims[2] + at[2]) * dims[3] + at[3];
  }
  template <class Fn>
  static void for_all(const Index& dims, Fn&& fn) {
    for (std::int64_t i = 0; i < numel(dims); ++i) {
      Index at{};
      std::int64_t rest = i;
      for (int axis = 3; axis >= 0; --axis) {
        at[std::size_t(axis)] = rest % dims[std::size_t(axis)];
        rest /= dims[std::size_t(axis)];
      }
      fn(at);
    }
  }

  /// Of documents, or their rows, that a ragged tensor does not have: no place.
  std::int64_t place_in_memory(const SdpaGraph::Tensor& its, const Index& at, int which) {
    std::int64_t result = 0;
    for (std::size_t axis = 1; axis < 4; ++axis) result += at[axis] * its.strides[axis];
    if (its.offsets < 0) return result + at[0] * its.strides[0];
    // Those of the heads before a sum over groups are cuDNN's to multiply.
    const auto& offsets = memory_of(its.offsets);
    const bool heads = its.operand == SdpaOperand::dk_heads || its.operand == SdpaOperand::dv_heads;
    const double factor = heads ? double(its.dims[1]) / double(kv_heads_of(which)) : 1;
    const auto row = its.strides[2] == 1 ? 3U : 2U;  // the axis of tokens: transposed, the last
    const auto length = memory(SdpaOperand::lengths)[std::size_t(at[0])];
    if (double(at[row]) >= length) return -1;
    return result + std::int64_t(offsets[std::size_t(at[0])] * factor);
  }
  std::int64_t kv_heads_of(int heads) const {
    for (const SdpaGraph::Node& node : graph_.nodes)
      if (node.kind == Kind::sum && node.x == heads) return tensor(node.y).dims[1];
    return tensor(heads).dims[1];
  }

  double at(int which, Index index) {
    const SdpaGraph::Tensor& its = tensor(which);
    for (std::size_t axis = 0; axis < 4; ++axis)
      if (its.dims[axis] == 1) index[axis] = 0;
    if (its.operand == SdpaOperand::none)
      return values_[std::size_t(which)].at(std::size_t(place(its.dims, index)));
    const std::int64_t p = place_in_memory(its, index, which);
    return p < 0 ? 0 : memory_of(which).at(std::size_t(p));
  }

  void write(int which) {
    const SdpaGraph::Tensor& its = tensor(which);
    if (its.operand == SdpaOperand::none) return;
    for_all(its.dims, [&](const Index& index) {
      const std::int64_t p = place_in_memory(its, index, which);
      if (p >= 0)
        memory_of(which).at(std::size_t(p)) =
            values_[std::size_t(which)][std::size_t(place(its.dims, index))];
    });
  }

  double limit(int lengths, std::int64_t document, std::int64_t extent) {
    return lengths < 0 ? double(extent) : memory_of(lengths)[std::size_t(document)];
  }

  void multiply(const SdpaGraph::Node& node) {
    const auto &x = tensor(node.x), &b = tensor(node.b), &y = tensor(node.y);
    ASSERT_EQ(x.dims[3], b.dims[2]);
    ASSERT_EQ(x.dims[1] % b.dims[1], 0);
    Values& result = values_[std::size_t(node.y)];
    result.assign(std::size_t(numel(y.dims)), 0);
    for_all(y.dims, [&](const Index& i) {
      if (double(i[2]) >= limit(node.m, i[0], y.dims[2])) return;
      if (double(i[3]) >= limit(node.n, i[0], y.dims[3])) return;
      double sum = 0;
      for (std::int64_t k = 0; double(k) < limit(node.k, i[0], x.dims[3]); ++k) {
        sum += at(node.x, {i[0], i[1], i[2], k}) *
               at(node.b, {i[0], i[1] * b.dims[1] / x.dims[1], k, i[3]});
      }
      result[std::size_t(place(y.dims, i))] = sum;
    });
  }

  /// The same matrix with rows and columns exchanged, whatever the strides say of x.
  void transpose(const SdpaGraph::Node& node) {
    const auto& y = tensor(node.y);
    Values& result = values_[std::size_t(node.y)];
    result.resize(std::size_t(numel(y.dims)));
    for_all(y.dims, [&](const Index& i) {
      result[std::size_t(place(y.dims, i))] = at(node.x, {i[0], i[1], i[3], i[2]});
    });
  }

  double combine(const SdpaGraph::Node& node, const Index& i) {
    if (node.kind == Kind::row) return double(i[2]);
    if (node.kind == Kind::column) return double(i[3]);
    const double x = at(node.x, i), b = node.b >= 0 ? at(node.b, i) : 0;
    switch (node.kind) {
      case Kind::multiply:
        return x * b;
      case Kind::add:
        return x + b;
      case Kind::subtract:
        return x - b;
      case Kind::divide:
        return x / b;
      case Kind::exp:
        return std::exp(x);
      case Kind::log:
        return std::log(x);
      case Kind::not_below:
        return x >= b ? 1 : 0;
      case Kind::below:
        return x < b ? 1 : 0;
      case Kind::both:
        return x != 0 && b != 0 ? 1 : 0;
      case Kind::select:
        return at(node.condition, i) != 0 ? x : b;
      default:
        return x;
    }
  }

  void each(const SdpaGraph::Node& node) {
    const Index &from = tensor(node.x).dims, &to = tensor(node.y).dims;
    const bool max = node.kind == Kind::max;
    Values& result = values_[std::size_t(node.y)];
    result.assign(std::size_t(numel(to)), max ? -std::numeric_limits<double>::infinity() : 0);
    for_all(max || node.kind == Kind::sum ? from : to, [&](const Index& i) {
      Index its = i;
      for (std::size_t axis = 0; axis < 4; ++axis) its[axis] = i[axis] * to[axis] / from[axis];
      double& y = result[std::size_t(place(to, max || node.kind == Kind::sum ? its : i))];
      const double x = combine(node, i);
      y = max ? std::max(y, x) : node.kind == Kind::sum ? y + x : x;
    });
  }

  const SdpaGraph& graph_;
  std::vector<Values> values_;
  std::array<Values, static_cast<std::size_t>(SdpaOperand::count)> memory_;
};

Values values_of(const Tensor& x) {
  Values result;
  for (std::int64_t i = 0; i < x.numel(); ++i) result.push_back(double{get(x, i)});
  return result;
}

void expect_near(const Values& found, const Tensor& expected) {
  ASSERT_EQ(std::ssize(found), expected.numel());
  double error = 0, norm = 0;
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    const double x = double{get(expected, i)};
    error += (found[std::size_t(i)] - x) * (found[std::size_t(i)] - x), norm += x * x;
  }
  EXPECT_LT(std::sqrt(error / norm), 1e-5);
}

/// Both graphs over documents of `lengths`, in room for `batch` of `length` if they are ragged.
void expect_attention(Dims dims, const std::vector<std::int32_t>& lengths, bool ragged,
                      bool deterministic, std::int64_t batch, std::int64_t length) {
  Attention a({"", Isa::avx2, {}}, DType::f32, dims, lengths);
  const Reference expected(a);
  const std::int64_t heads = dims.kv * dims.g, row = dims.kv * dims.d;
  const SdpaShape shape{.batch = batch,
                        .length = length,
                        .heads = heads,
                        .kv_heads = dims.kv,
                        .d = dims.d,
                        .k_stride = row,
                        .v_stride = a.v.stride(0),
                        .tokens = a.t,
                        .ragged = ragged,
                        .deterministic = deterministic};
  // logsumexp is [heads, T] there; here by documents.
  const auto place = [&](std::int64_t head, std::int64_t t) {
    if (ragged) return std::size_t(t * heads + head);
    return std::size_t((t / length * heads + head) * length + t % length);
  };
  const auto prepare = [&](Interpreter& graph) {
    graph.memory(SdpaOperand::q) = values_of(a.q);
    graph.memory(SdpaOperand::k) = values_of(a.k);
    const Values wide = values_of(a.wide);
    graph.memory(SdpaOperand::v) = Values(wide.begin() + 3, wide.end());
    graph.memory(SdpaOperand::scale) = {double{a.scale}};
    graph.memory(SdpaOperand::lowest) = {double{std::numeric_limits<float>::lowest()}};
    graph.memory(SdpaOperand::one) = {1};
    const auto offsets = [&](SdpaOperand operand, std::int64_t unit) {
      Values& its = graph.memory(operand) = {0};
      for (std::size_t i = 0; i < std::size_t(batch); ++i)
        its.push_back(its.back() + (i < lengths.size() ? double(lengths[i] * unit) : 0));
    };
    offsets(SdpaOperand::q_offsets, heads * dims.d);
    offsets(SdpaOperand::k_offsets, row);
    offsets(SdpaOperand::v_offsets, a.v.stride(0));
    offsets(SdpaOperand::dkv_offsets, row);
    offsets(SdpaOperand::stats_offsets, heads);
    graph.memory(SdpaOperand::lengths) = Values(lengths.begin(), lengths.end());
    graph.memory(SdpaOperand::lengths).resize(std::size_t(batch));
  };

  const SdpaGraph forward_graph = sdpa_forward_graph(shape);
  Interpreter forward(forward_graph);
  prepare(forward);
  forward.memory(SdpaOperand::o).resize(std::size_t(a.q.numel()));
  forward.memory(SdpaOperand::stats).resize(std::size_t(a.t * heads));
  forward.run();
  expect_near(forward.memory(SdpaOperand::o), expected.o);
  Values lse;
  for (std::int64_t head = 0; head < heads; ++head)
    for (std::int64_t t = 0; t < a.t; ++t)
      lse.push_back(forward.memory(SdpaOperand::stats)[place(head, t)]);
  expect_near(lse, expected.lse);

  const SdpaGraph backward_graph = sdpa_backward_graph(shape);
  Interpreter backward(backward_graph);
  prepare(backward);
  backward.memory(SdpaOperand::d_o) = values_of(a.d_o);
  for (const SdpaOperand operand : {SdpaOperand::o, SdpaOperand::stats})
    backward.memory(operand) = forward.memory(operand);
  backward.memory(SdpaOperand::delta).resize(std::size_t(a.t * heads));
  backward.memory(SdpaOperand::dk).resize(std::size_t(a.k.numel()));
  backward.memory(SdpaOperand::dv).resize(std::size_t(a.k.numel()));
  for (const SdpaOperand operand :
       {SdpaOperand::dq, SdpaOperand::dk_heads, SdpaOperand::dv_heads, SdpaOperand::dq_sum}) {
    if (operand != SdpaOperand::dq_sum || !deterministic)
      backward.memory(operand).resize(std::size_t(a.q.numel()));
  }
  backward.run();
  expect_near(backward.memory(SdpaOperand::dq), expected.dq);
  expect_near(backward.memory(SdpaOperand::dk), expected.dk);
  expect_near(backward.memory(SdpaOperand::dv), expected.dv);
}

TEST(SdpaGraph, IsAttentionOfDocumentsOfOneLength) {
  for (const bool deterministic : {false, true}) {
    expect_attention({.kv = 2, .g = 2, .d = 8}, {7}, false, deterministic, 1, 7);
    expect_attention({.kv = 2, .g = 3, .d = 8}, {5, 5, 5}, false, deterministic, 3, 5);
    expect_attention({.kv = 3, .g = 1, .d = 16}, {4, 4}, false, deterministic, 2, 4);
  }
}

TEST(SdpaGraph, IsAttentionOfDocumentsThatDifferInLength) {
  for (const bool deterministic : {false, true}) {
    expect_attention({.kv = 2, .g = 2, .d = 8}, {3, 1, 6}, true, deterministic, 4, 8);
    expect_attention({.kv = 2, .g = 1, .d = 8}, {2, 0, 5}, true, deterministic, 3, 5);
  }
}

}  // namespace
}  // namespace hg::test
