// CPU bodies of ops/linear.h. A product is cut into pieces that depend on its shape alone; each is
// one oneDNN call on one thread, so that the bits do not depend on the number of threads. An
// operand that a piece cannot take as it lies (rows apart, or bf16 where f32 is faster) is copied
// into scratch first.
#include "ops/linear.h"

#include <algorithm>
#include <array>

#include "ops/cpu/product_operands.h"

namespace hg {
namespace {

constexpr std::int64_t kRows = 256;    // of the result, for a piece: amortises reading the weight
constexpr std::int64_t kChunk = 2048;  // of the sum, where operands are copied
constexpr std::int64_t kSlab = 512;    // tokens that a term of a weight gradient sums over
constexpr std::int64_t kCopy = 64 << 10;     // elements of a weight that one task copies
constexpr std::int64_t kMaxBlock = 8 << 20;  // elements of a weight that are copied at once
constexpr std::int64_t kMaxTerms = 4 << 20;  // elements of all terms of a weight gradient

/// Makes oneDNN ready for products of each combination of extents (those of 0 do not occur).
Tensor prepare(Context& ctx, const Product& whole, std::array<std::int64_t, 2> m,
               std::array<std::int64_t, 2> n, std::array<std::int64_t, 2> k) {
  std::int64_t bytes = 0;
  for (const std::int64_t rows : m) {
    for (const std::int64_t columns : n) {
      for (const std::int64_t terms : k) {
        for (const bool accumulate : {false, true}) {
          if (rows == 0 || columns == 0 || terms == 0) continue;
          Product piece = whole;
          piece.m = rows, piece.n = columns, piece.k = terms, piece.accumulate = accumulate;
          bytes = std::max(bytes, onednn(ctx).prepare(piece));
        }
      }
    }
  }
  return library_buffers(ctx, bytes);
}

/// out = in weight^T or in weight: forward, and backward of the input.
struct RowProduct {
  Tensor out;              // [M, N]
  ConstTensor in, weight;  // [M, K]; [N, K] if transposed, else [K, N]
  bool transposed;
  DType dtype;

  std::int64_t m() const { return out.dim(0); }
  std::int64_t n() const { return out.dim(1); }
  std::int64_t k() const { return in.dim(1); }
  /// Rows for a piece: at most kRows, and four pieces or more unless they would be small.
  std::int64_t rows() const {
    return std::min(m(), std::clamp(ceil_div(m(), 4 * 32) * 32, kRows / 4, kRows));
  }
  /// Columns of the result whose weights are copied at a time; all, if none need be.
  std::int64_t columns() const {
    if (ready(weight, dtype)) return n();
    return std::min(n(), std::max<std::int64_t>(64, kMaxBlock / k() / 64 * 64));
  }
  /// Terms of the sum in one call. A transposed weight has them side by side and cannot be cut
  /// there.
  std::int64_t chunk() const {
    return transposed || ready(in, dtype) ? k() : std::min(k(), kChunk);
  }
  /// Whether oneDNN writes the result where it belongs.
  bool direct() const {
    return ready(out, dtype) && columns() == n() && (dtype == DType::f32 || chunk() == k());
  }
  Product piece(std::int64_t piece_rows, std::int64_t piece_columns, std::int64_t terms,
                bool add) const {
    return {.m = piece_rows,
            .n = piece_columns,
            .k = terms,
            .input = dtype,
            .output = direct() ? dtype : DType::f32,
            .a_transposed = false,
            .b_transposed = transposed,
            .accumulate = add};
  }

  LinearScratch scratch(Context& ctx) const {
    const int workers = num_threads();
    return {
        .a = buffers_if(!ready(in, dtype), ctx, "linear input", dtype, workers, rows() * chunk()),
        .b = buffers_if(!ready(weight, dtype), ctx, "linear weight", dtype, 1, k() * columns()),
        .c = buffers_if(!direct(), ctx, "linear output", DType::f32, workers, rows() * columns()),
        .partial = {},
        .library = prepare(ctx, piece(0, 0, 0, false), {rows(), m() % rows()},
                           {columns(), n() % columns()}, {chunk(), k() % chunk()})};
  }

  /// The weights of columns [begin, end) of the result, copied by all threads if need be.
  const std::byte* block(Context& ctx, std::int64_t begin, std::int64_t end, void* copy) const {
    const ConstTensor part = weight.slice(transposed ? 0 : 1, begin, end);
    if (ready(weight, dtype)) return static_cast<const std::byte*>(weight.data());
    const Tensor to(copy, dtype, part.shape());
    parallel_ranges(
        part.dim(0), ceil_div(kCopy, part.dim(1)), [&](std::int64_t first, std::int64_t last) {
          copy_matrix(ctx, {.to = to.rows(first, last), .from = part.rows(first, last)});
        });
    return static_cast<const std::byte*>(copy);
  }

  void run(Context& ctx) const {
    const ArenaScope scope(ctx.scratch);
    const LinearScratch s = scratch(ctx);
    const OneDnn& library = onednn(ctx);
    for (std::int64_t left = 0; left < n(); left += columns()) {
      const std::int64_t right = std::min(left + columns(), n());
      const std::byte* b = block(ctx, left, right, buffer(s.b, 0));
      parallel_for(ceil_div(m(), rows()), [&](std::int64_t i, int worker) {
        const std::int64_t top = i * rows(), bottom = std::min(top + rows(), m());
        const Tensor to = out.rows(top, bottom).slice(1, left, right);
        void* c = direct() ? to.data() : buffer(s.c, worker);
        for (std::int64_t begin = 0; begin < k(); begin += chunk()) {
          const std::int64_t end = std::min(begin + chunk(), k());
          const void* a = made_ready(ctx, in.rows(top, bottom).slice(1, begin, end), dtype,
                                     buffer(s.a, worker));
          library.run(piece(bottom - top, right - left, end - begin, begin > 0), worker, a,
                      b + begin * (right - left) * size_of(dtype), c, buffer(s.library, worker));
        }
        if (!direct()) copy_matrix(ctx, {.to = to, .from = Tensor(c, DType::f32, to.shape())});
      });
    }
  }
};

/// dweight (+)= dy^T x. Tokens are cut into slabs. A small gradient has a term for each slab, made
/// in parallel and summed in order; a large one is cut by rows, whose slabs one worker adds up in
/// order.
struct WeightGradient {
  const LinearBackwardWeight& op;
  DType dtype;

  std::int64_t t() const { return op.x.dim(0); }
  std::int64_t n() const { return op.dweight.dim(0); }
  std::int64_t k() const { return op.dweight.dim(1); }
  bool terms_fit(std::int64_t slab) const { return ceil_div(t(), slab) * n() * k() <= kMaxTerms; }
  /// Tokens for a term: few, if the terms stay small, and four terms or more.
  std::int64_t term_slab() const {
    const std::int64_t longest = std::max(kSlab / 4, ceil_div(t(), 4));
    return std::min(longest, terms_fit(kSlab) ? kSlab : 2 * kSlab);
  }
  bool by_slab() const { return terms_fit(term_slab()); }
  std::int64_t slab() const { return std::min(t(), by_slab() ? term_slab() : kSlab / 2); }
  std::int64_t slabs() const { return ceil_div(t(), slab()); }
  /// Rows for a piece: where they are few, fewer, to give every thread some.
  std::int64_t rows() const {
    return by_slab() ? n() : std::min(n(), n() < 8 * kRows ? kRows * 3 / 4 : kRows);
  }
  Product piece(std::int64_t piece_rows, std::int64_t terms, bool accumulate) const {
    return {.m = piece_rows,
            .n = k(),
            .k = terms,
            .input = dtype,
            .output = DType::f32,
            .a_transposed = true,
            .b_transposed = false,
            .accumulate = accumulate};
  }

  LinearScratch scratch(Context& ctx) const {
    const int workers = num_threads();
    const bool copy_dy = !ready(op.dy, dtype) || rows() < n();
    return {.a = buffers_if(copy_dy, ctx, "linear dy", dtype, workers, rows() * slab()),
            .b = buffers_if(!ready(op.x, dtype), ctx, "linear x", dtype, workers, k() * slab()),
            .c = {},
            .partial = buffers_if(by_slab() && slabs() > 1, ctx, "linear dweight terms", DType::f32,
                                  slabs(), n() * k()),
            .library = prepare(ctx, piece(0, 0, false), {rows(), n() % rows()}, {k(), 0},
                               {slab(), t() % slab()})};
  }

  void run(Context& ctx) const {
    const ArenaScope scope(ctx.scratch);
    const LinearScratch s = scratch(ctx);
    const OneDnn& library = onednn(ctx);
    // c (+)= the term of slab i for rows [top, bottom).
    const auto add = [&](void* c, std::int64_t i, std::int64_t top, std::int64_t bottom,
                         bool accumulate, int worker) {
      const std::int64_t begin = i * slab(), end = std::min(begin + slab(), t());
      const void* a =
          made_ready(ctx, op.dy.rows(begin, end).slice(1, top, bottom), dtype, buffer(s.a, worker));
      const void* b = made_ready(ctx, op.x.rows(begin, end), dtype, buffer(s.b, worker));
      library.run(piece(bottom - top, end - begin, accumulate), worker, a, b, c,
                  buffer(s.library, worker));
    };
    if (s.partial) {
      parallel_for(slabs(), [&](std::int64_t i, int worker) {
        add(buffer(s.partial, i), i, 0, n(), false, worker);
      });
      sum_matrices(ctx, {.sum = op.dweight,
                         .terms = s.partial.view({slabs(), n(), k()}),
                         .accumulate = op.accumulate});
      return;
    }
    parallel_for(ceil_div(n(), rows()), [&](std::int64_t piece, int worker) {
      const std::int64_t top = piece * rows(), bottom = std::min(top + rows(), n());
      for (std::int64_t i = 0; i < slabs(); ++i) {
        add(op.dweight.rows(top, bottom).data(), i, top, bottom, op.accumulate || i > 0, worker);
      }
    });
  }
};

RowProduct product(const LinearForward& op, const Context& ctx) {
  return {.out = op.y,
          .in = op.x,
          .weight = op.weight,
          .transposed = true,
          .dtype = product_dtype(ctx, op.x)};
}

RowProduct product(const LinearBackwardInput& op, const Context& ctx) {
  return {.out = op.dx,
          .in = op.dy,
          .weight = op.weight,
          .transposed = false,
          .dtype = product_dtype(ctx, op.dy)};
}

WeightGradient product(const LinearBackwardWeight& op, const Context& ctx) {
  return {.op = op, .dtype = product_dtype(ctx, op.x)};
}

template <class Op>
LinearScratch scratch_of(const Op& op, Context& ctx) {
  if (ctx.scratch_device() != Device::cuda) return product(op, ctx).scratch(ctx);
  return {.a = {},
          .b = {},
          .c = {},
          .partial = {},
          .library = ctx.scratch.allocate("cuBLASLt", DType::f32, {1, kCublasLtWorkspace / 4})};
}

}  // namespace

void LinearForward::cpu(Context& ctx) const { product(*this, ctx).run(ctx); }
LinearScratch LinearForward::scratch(Context& ctx) const { return scratch_of(*this, ctx); }

void LinearBackwardInput::cpu(Context& ctx) const { product(*this, ctx).run(ctx); }
LinearScratch LinearBackwardInput::scratch(Context& ctx) const { return scratch_of(*this, ctx); }

void LinearBackwardWeight::cpu(Context& ctx) const { product(*this, ctx).run(ctx); }
LinearScratch LinearBackwardWeight::scratch(Context& ctx) const { return scratch_of(*this, ctx); }

}  // namespace hg
