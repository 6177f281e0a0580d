// Matrix products by oneDNN, one thread each: how a product is cut over threads is ours to say,
// because oneDNN's own cut depends on how many there are, and with it the bits of the result.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>

#include "core/context.h"

namespace hg {

/// C = A B, or C += A B, with C [m, n] and a sum over k. All three are contiguous: oneDNN's fast
/// kernels take no other operands.
struct Product {
  std::int64_t m, n, k;
  DType input, output;              // A and B; C
  bool a_transposed, b_transposed;  // A is stored [k, m], not [m, k]; B [n, k], not [k, n]
  bool accumulate;

  auto operator<=>(const Product&) const = default;
};

/// oneDNN's primitives by product, so that a step creates none after the first. Belongs to a
/// Context.
class OneDnn {
 public:
  OneDnn();
  ~OneDnn();

  /// Makes what `run` needs for this product by workers [0, num_threads()). Returns the bytes of
  /// scratch that each needs.
  std::int64_t prepare(const Product& product);

  /// Computes a prepared product. Workers may run at the same time, each with its own scratch.
  void run(const Product& product, int worker, const void* a, const void* b, void* c,
           void* scratch) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The context's OneDnn, made on demand.
OneDnn& onednn(Context& ctx);

}  // namespace hg
