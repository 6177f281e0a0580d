// CPU bodies of ops/grouped_linear.h. An expert's rows are cut into pieces by their number alone,
// each one oneDNN call on one thread, so that the bits depend neither on the number of threads nor
// on other experts. The last piece is filled up in scratch to one of few heights: the primitives
// for all of them are made once, and no number of rows needs another.
#include "ops/grouped_linear.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "ops/cpu/product_operands.h"

namespace hg {
namespace {

constexpr std::int64_t kMaxRows = 256;  // of a piece: amortises reading the weight
constexpr std::int64_t kStep = 16;      // between heights: few rows of the last piece are filling
constexpr std::int64_t kStrips = 4;     // that a weight gradient is cut into, unless narrow,
constexpr std::int64_t kShare = 16;     // if its expert has more than 1 / kShare of all rows

/// The height that a piece of `rows` rows is filled up to: 1, 2, 4, 8, 16, 32, 48 and so on.
std::int64_t filled(std::int64_t rows) {
  if (rows > kStep) return ceil_div(rows, kStep) * kStep;
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(rows)));
}

/// Which rows are whose, and the pieces they are cut into.
struct Groups {
  const std::int32_t* offsets;
  std::int64_t experts;
  std::int64_t capacity;  // rows of the operands

  Groups(const ConstTensor& bounds, std::int64_t rows)
      : offsets(bounds.as<std::int32_t>()), experts(bounds.dim(0) - 1), capacity(rows) {}

  std::int64_t begin(std::int64_t expert) const { return offsets[expert]; }
  std::int64_t end(std::int64_t expert) const { return offsets[expert + 1]; }

  /// Offsets are computed from data, so they are checked in every run.
  void check(std::string_view op) const {
    HG_CHECK(offsets[0] == 0, "{}: offsets[0] is {}, expected 0", op, offsets[0]);
    for (std::int64_t e = 0; e < experts; ++e) {
      HG_CHECK(begin(e) <= end(e) && end(e) <= capacity,
               "{}: offsets[{}] is {}, expected at least offsets[{}] = {} and at most the {} rows",
               op, e + 1, end(e), e, begin(e), capacity);
    }
  }

  /// No piece is higher: kMaxRows, or less if there would be fewer than four.
  std::int64_t max_height() const {
    return std::clamp(ceil_div(capacity, 4 * 32) * 32, kMaxRows / 4, kMaxRows);
  }
  /// The highest that occurs.
  std::int64_t highest() const { return std::min(max_height(), filled(capacity)); }
  /// Of the pieces of an expert with rows, as even as can be; its last may be lower.
  std::int64_t height(std::int64_t expert) const {
    const std::int64_t rows = end(expert) - begin(expert);
    return filled(ceil_div(rows, ceil_div(rows, max_height())));
  }
  std::int64_t pieces(std::int64_t expert) const {
    const std::int64_t rows = end(expert) - begin(expert);
    return rows == 0 ? 0 : ceil_div(rows, height(expert));
  }

  /// Calls fn for every height that a piece can have.
  template <class Fn>
  void for_heights(Fn&& fn) const {
    for (std::int64_t height = 1; height <= highest(); height = filled(height + 1)) fn(height);
  }
};

/// `rows` in a form that oneDNN takes, with zeros behind them up to `height`: themselves, or a copy
/// at `buffer`.
const void* filled_rows(Context& ctx, const ConstTensor& rows, std::int64_t height, DType dtype,
                        void* buffer) {
  const std::int64_t count = rows.dim(0);
  if (count == height) return made_ready(ctx, rows, dtype, buffer);
  const Tensor copy(buffer, dtype, rows.shape().with(0, height));
  const Tensor filling = copy.rows(count, height);
  copy_matrix(ctx, {.to = copy.rows(0, count), .from = rows});
  std::memset(filling.data(), 0, static_cast<std::size_t>(filling.bytes()));
  return buffer;
}

ConstTensor matrix_of(const ConstTensor& matrices, std::int64_t expert) {
  return matrices.rows(expert, expert + 1).view({matrices.dim(1), matrices.dim(2)});
}

/// out = in weight^T or in weight: forward, and backward of the input.
struct RowProducts {
  Tensor out;              // [R, N]
  ConstTensor in, weight;  // [R, K]; [E, N, K] if transposed, else [E, K, N]
  Groups groups;
  bool transposed;
  DType dtype;

  Product piece(std::int64_t height) const {
    return {.m = height,
            .n = out.dim(1),
            .k = in.dim(1),
            .input = dtype,
            .output = dtype,
            .a_transposed = false,
            .b_transposed = transposed,
            .accumulate = false};
  }

  GroupedLinearScratch scratch(Context& ctx) const {
    const int workers = num_threads();
    const bool copy_weight = !ready(weight, dtype);
    std::int64_t bytes = 0;
    groups.for_heights(
        [&](std::int64_t height) { bytes = std::max(bytes, onednn(ctx).prepare(piece(height))); });
    return {
        .a = ctx.scratch.allocate("grouped input", dtype, {workers, groups.highest() * in.dim(1)}),
        .b = buffers_if(copy_weight, ctx, "grouped weight", dtype, workers, out.dim(1) * in.dim(1)),
        .c =
            ctx.scratch.allocate("grouped output", dtype, {workers, groups.highest() * out.dim(1)}),
        .first_pieces = ctx.scratch.allocate("grouped pieces", DType::i32, {groups.experts + 1}),
        .held = buffers_if(copy_weight, ctx, "grouped weights held", DType::i32, workers, 1),
        .library = library_buffers(ctx, bytes)};
  }

  /// The weight of an expert. A copy stays with the worker for the pieces that follow.
  const void* weight_of(Context& ctx, std::int64_t expert, const GroupedLinearScratch& s,
                        int worker) const {
    if (!s.b) return matrix_of(weight, expert).data();
    std::int32_t& held = s.held.as<std::int32_t>()[worker];
    if (held != expert) made_ready(ctx, matrix_of(weight, expert), dtype, buffer(s.b, worker));
    held = static_cast<std::int32_t>(expert);
    return buffer(s.b, worker);
  }

  void run(Context& ctx) const {
    const ArenaScope scope(ctx.scratch);
    const GroupedLinearScratch s = scratch(ctx);
    const OneDnn& library = onednn(ctx);
    auto* first = s.first_pieces.as<std::int32_t>();
    auto* last = first + groups.experts;
    first[0] = 0;
    for (std::int64_t e = 0; e < groups.experts; ++e) {
      first[e + 1] = first[e] + static_cast<std::int32_t>(groups.pieces(e));
    }
    if (s.held) std::fill_n(s.held.as<std::int32_t>(), s.held.numel(), -1);
    parallel_for(*last, [&](std::int64_t task, int worker) {
      const std::int64_t expert = std::upper_bound(first, last, task) - first - 1;
      const std::int64_t height = groups.height(expert);
      const std::int64_t top = groups.begin(expert) + (task - first[expert]) * height;
      const std::int64_t bottom = std::min(top + height, groups.end(expert));
      const Product product = piece(filled(bottom - top));
      const Tensor to = out.rows(top, bottom);
      const bool direct = ready(to, dtype) && to.dim(0) == product.m;
      void* c = direct ? to.data() : buffer(s.c, worker);
      const void* a = filled_rows(ctx, in.rows(top, bottom), product.m, dtype, buffer(s.a, worker));
      library.run(product, worker, a, weight_of(ctx, expert, s, worker), c,
                  buffer(s.library, worker));
      if (!direct) copy_matrix(ctx, {.to = to, .from = Tensor(c, dtype, to.shape())});
    });
  }
};

/// dweight (+)= dy^T x. Each expert's gradient is one task, which adds up the pieces of the sum in
/// order; that of an expert with a large share of the rows is cut into strips, a task each.
struct WeightGradients {
  const GroupedLinearBackwardWeight& op;
  Groups groups;
  DType dtype;

  std::int64_t n() const { return op.dweight.dim(1); }
  std::int64_t k() const { return op.dweight.dim(2); }
  std::int64_t strip() const {
    return std::min(n(), std::clamp(ceil_div(n(), kStrips * 32) * 32, kMaxRows / 2, kMaxRows));
  }
  Product piece(std::int64_t rows, std::int64_t height, bool accumulate) const {
    return {.m = rows,
            .n = k(),
            .k = height,
            .input = dtype,
            .output = DType::f32,
            .a_transposed = true,
            .b_transposed = false,
            .accumulate = accumulate};
  }

  GroupedLinearScratch scratch(Context& ctx) const {
    const int workers = num_threads();
    std::int64_t bytes = 0;
    for (const std::int64_t rows : {n(), strip(), n() % strip()}) {
      for (const bool accumulate : {false, true}) {
        if (rows == 0) continue;
        groups.for_heights([&](std::int64_t height) {
          bytes = std::max(bytes, onednn(ctx).prepare(piece(rows, height, accumulate)));
        });
      }
    }
    return {.a = ctx.scratch.allocate("grouped dy", dtype, {workers, groups.highest() * n()}),
            .b = ctx.scratch.allocate("grouped x", dtype, {workers, groups.highest() * k()}),
            .c = {},
            .first_pieces = {},
            .held = {},
            .library = library_buffers(ctx, bytes)};
  }

  void run(Context& ctx) const {
    const ArenaScope scope(ctx.scratch);
    const GroupedLinearScratch s = scratch(ctx);
    const OneDnn& library = onednn(ctx);
    const std::int64_t strips = ceil_div(n(), strip());
    parallel_for(groups.experts * strips, [&](std::int64_t task, int worker) {
      const std::int64_t expert = task / strips;
      const std::int64_t begin = groups.begin(expert), end = groups.end(expert);
      const bool whole = (end - begin) * kShare <= groups.capacity;
      const std::int64_t width = whole ? n() : strip(), left = task % strips * width;
      if (left >= n()) return;
      const std::int64_t right = std::min(left + width, n());
      const Tensor to = op.dweight.rows(expert, expert + 1).view({n(), k()}).rows(left, right);
      if (begin == end) {
        if (!op.accumulate) std::memset(to.data(), 0, static_cast<std::size_t>(to.bytes()));
        return;
      }
      const std::int64_t height = groups.height(expert);
      for (std::int64_t top = begin; top < end; top += height) {
        const std::int64_t bottom = std::min(top + height, end);
        const Product product =
            piece(right - left, filled(bottom - top), op.accumulate || top > begin);
        const void* a = filled_rows(ctx, op.dy.rows(top, bottom).slice(1, left, right), product.k,
                                    dtype, buffer(s.a, worker));
        const void* b =
            filled_rows(ctx, op.x.rows(top, bottom), product.k, dtype, buffer(s.b, worker));
        library.run(product, worker, a, b, to.data(), buffer(s.library, worker));
      }
    });
  }
};

RowProducts products(const GroupedLinearForward& op, const Context& ctx) {
  return {.out = op.y,
          .in = op.x,
          .weight = op.weight,
          .groups = {op.offsets, op.x.dim(0)},
          .transposed = true,
          .dtype = product_dtype(ctx, op.x)};
}

RowProducts products(const GroupedLinearBackwardInput& op, const Context& ctx) {
  return {.out = op.dx,
          .in = op.dy,
          .weight = op.weight,
          .groups = {op.offsets, op.dy.dim(0)},
          .transposed = false,
          .dtype = product_dtype(ctx, op.dy)};
}

WeightGradients products(const GroupedLinearBackwardWeight& op, const Context& ctx) {
  return {.op = op, .groups = {op.offsets, op.x.dim(0)}, .dtype = product_dtype(ctx, op.x)};
}

template <class Op>
void run_products(const Op& op, Context& ctx) {
  const auto all = products(op, ctx);
  all.groups.check(op.name);
  all.run(ctx);
}

}  // namespace

void GroupedLinearForward::cpu(Context& ctx) const { run_products(*this, ctx); }
GroupedLinearScratch GroupedLinearForward::scratch(Context& ctx) const {
  return products(*this, ctx).scratch(ctx);
}

void GroupedLinearBackwardInput::cpu(Context& ctx) const { run_products(*this, ctx); }
GroupedLinearScratch GroupedLinearBackwardInput::scratch(Context& ctx) const {
  return products(*this, ctx).scratch(ctx);
}

void GroupedLinearBackwardWeight::cpu(Context& ctx) const { run_products(*this, ctx); }
GroupedLinearScratch GroupedLinearBackwardWeight::scratch(Context& ctx) const {
  return products(*this, ctx).scratch(ctx);
}

}  // namespace hg
