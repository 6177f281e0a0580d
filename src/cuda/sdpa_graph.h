// Attention as a graph of matrix products, reductions and elementwise operations, the form in which
// cuDNN recognises it. Plain data: cuda/cudnn makes a plan of it, tests compute it.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <vector>

namespace hg {

/// Causal attention of `batch` documents of `length` tokens each, in bf16. Queries and outputs are
/// [tokens, heads, d] end to end, and so are the gradients of keys and values [tokens, kv_heads,
/// d]. The rows of a key or value of one token lie end to end, those of tokens a stride apart.
struct SdpaShape {
  std::int64_t batch, length, heads, kv_heads, d;
  std::int64_t k_stride, v_stride;  // elements from a token to the next
  std::int64_t tokens;              // batch x length, unless ragged
  bool ragged;         // documents have at most `length` tokens, some perhaps none, end to end
  bool deterministic;  // backward alone: no sum whose order differs from run to run

  auto operator<=>(const SdpaShape&) const = default;
};

/// What memory a tensor of a graph is, when it runs.
enum class SdpaOperand {
  none,  // passes between operations
  q,
  k,
  v,
  o,
  stats,  // logsumexp, f32: [batch, heads, length]; ragged, [tokens, heads]
  d_o,
  dq,
  dk,
  dv,
  delta,          // rowsum(do o), like stats
  dq_sum,         // f32, like q; where sums need no order
  dk_heads,       // of every query head, like q; ragged alone, where heads share keys
  dv_heads,       // likewise
  lengths,        // ragged alone, of documents: [batch] i32; the offsets are [batch + 1] i32, in
  q_offsets,      // elements: of their queries and what is alike,
  k_offsets,      // of their keys,
  v_offsets,      // of their values,
  dkv_offsets,    // of the gradients of both,
  stats_offsets,  // of their stats
  scale,          // a float of the host's
  lowest,         // likewise: what a score is that is not seen
  one,            // likewise
  count
};

struct SdpaGraph {
  enum class Type { f32, bf16, i32, boolean };
  using Extents = std::array<std::int64_t, 4>;

  struct Tensor {
    Extents dims, strides;
    Type type;
    SdpaOperand operand = SdpaOperand::none;
    int offsets = -1;  // the tensor that says where entries of the outermost axis begin
  };

  enum class Kind {
    multiply,  // y = x b, element by element; where b has one element of an axis, it is repeated
    add,
    subtract,
    divide,
    exp,
    log,
    identity,
    row,        // y = the index along axis 2
    column,     // along axis 3
    not_below,  // x >= b
    below,      // x < b
    both,       // x and b
    select,     // condition ? x : b
    product,    // y = x b, of matrices; where b has fewer heads, several of x share one
    max,        // over the axes that y has one element of
    sum,        // likewise; or over the heads that share one of y
    reshape     // y has the elements of x by other strides: the transposed matrix
  };
  /// Operands are indices of tensors, -1 where there is none.
  struct Node {
    Kind kind;
    int x, b = -1, condition = -1, y = -1;
    int m = -1, n = -1, k = -1;  // of products: how much of the extents counts, by document
  };

  std::vector<Tensor> tensors;
  std::vector<Node> nodes;  // in an order in which they can be computed
};

/// o and stats of q, k and v.
SdpaGraph sdpa_forward_graph(const SdpaShape& shape);

/// dq, dk and dv of d_o, q, k, v, o and stats.
SdpaGraph sdpa_backward_graph(const SdpaShape& shape);

}  // namespace hg
