// Attention to test: one op on any of its engines, with operands of its own, and its definition in
// double.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/cpu/attention_tiles.h"
#include "support/tensors.h"

namespace hg::test {

/// One of the ways to compute attention here.
struct Engine {
  std::string name;
  Isa isa;
  std::optional<TileUnit> tiles;  // vectors if not set

  /// What this machine can run. The emulation stands in for AMX: all but its tile instructions is
  /// shared.
  static std::vector<Engine> all() {
    std::vector<Engine> engines;
    for (const Isa isa : isas()) {
      engines.push_back({isa == Isa::avx2 ? "VectorsAvx2" : "VectorsAvx512", isa, {}});
    }
    engines.push_back({"EmulatedTiles", isas().back(), TileUnit::emulated});
    if (detect_cpu().amx_bf16) engines.push_back({"Amx", Isa::avx512, TileUnit::amx});
    return engines;
  }
  std::vector<DType> dtypes() const {
    if (tiles) return {DType::bf16};
    return {DType::f32, DType::bf16};
  }
  std::vector<std::int64_t> head_sizes() const {
    if (tiles) return {32, 64, 128};
    return {8, 16, 32, 40, 64, 128};
  }
  friend void PrintTo(const Engine& engine, std::ostream* out) { *out << engine.name; }
};

struct Dims {
  std::int64_t kv, g, d;
};

/// Attention over documents of the given lengths. v and dv are slices of wider buffers, NaN around
/// them.
struct Attention {
  Engine engine;
  Tensors memory;
  std::unique_ptr<Context> ctx;
  std::int64_t t = 0;
  Dims dims;
  Tensor documents, q, k, wide, v, o, lse, d_o, dq, dk, dwide, dv;
  float scale;

  Attention(const Engine& which, DType dtype, Dims shape, const std::vector<std::int32_t>& lengths)
      : engine(which), ctx(cpu_context(which.isa)), dims(shape) {
    std::vector<std::int32_t> bounds{0};
    for (const std::int32_t length : lengths) bounds.push_back(bounds.back() + length);
    t = bounds.back();
    documents = memory.integers(bounds);
    const auto [kv, g, d] = dims;
    q = memory.normal("q", {t, kv, g, d}, dtype);
    k = memory.normal("k", {t, kv, 1, d}, dtype);
    wide = memory.empty({t, (kv + 1) * d + 3}, dtype);
    v = slice(wide);
    const Tensor values = memory.normal("v", {t, kv, 1, d}, dtype);
    for (std::int64_t i = 0; i < values.numel(); ++i) set(wide, wide_index(i), get(values, i));
    o = memory.empty(q.shape(), dtype);
    lse = memory.empty({kv, g, t});
    d_o = memory.normal("d_o", q.shape(), dtype);
    dq = memory.empty(q.shape(), dtype);
    dk = memory.empty(k.shape(), dtype);
    dwide = memory.empty(wide.shape(), dtype);
    dv = slice(dwide);
    scale = 1 / std::sqrt(static_cast<float>(d));
  }

  Tensor slice(const Tensor& from) const {
    return from.slice(1, 3, 3 + dims.kv * dims.d).split(1, dims.kv, dims.d).split(1, dims.kv, 1);
  }
  /// Where element `i` of v lies in `wide`.
  std::int64_t wide_index(std::int64_t i) const {
    const std::int64_t row = dims.kv * dims.d;
    return i / row * wide.dim(1) + 3 + i % row;
  }
  /// The slice of `from` that v is of `wide`, contiguous.
  Tensor dense(const Tensor& from) {
    const Tensor result = memory.empty({t, dims.kv, 1, dims.d}, from.dtype());
    for (std::int64_t i = 0; i < result.numel(); ++i) set(result, i, get(from, wide_index(i)));
    return result;
  }

  template <class Op>
  void run_op(const Op& op) {
    if (!engine.tiles) {
      ctx->cpu.amx_bf16 = false;
      return run(*ctx, op);
    }
    op.check();
    if (engine.isa == Isa::avx2) return attention_on_tiles<Isa::avx2>(op, *ctx, *engine.tiles);
    attention_on_tiles<Isa::avx512>(op, *ctx, *engine.tiles);
  }
  AttentionForward forward_op() const {
    return {.o = o,
            .lse = lse,
            .q = q,
            .k = k,
            .v = v,
            .documents = documents,
            .longest = q.dim(0),
            .scale = scale};
  }
  AttentionBackward backward_op() const {
    return {.dq = dq,
            .dk = dk,
            .dv = dv,
            .d_o = d_o,
            .q = q,
            .k = k,
            .v = v,
            .o = o,
            .lse = lse,
            .documents = documents,
            .longest = q.dim(0),
            .scale = scale};
  }
  void forward() { run_op(forward_op()); }
  void backward() { run_op(backward_op()); }
};

/// The documents of `a` once more, query by query.
struct Place {
  std::int64_t first, position;  // of the query's document; of the query in it
};
inline std::vector<Place> places(const Attention& a) {
  std::vector<Place> result;
  const auto* bounds = a.documents.as<std::int32_t>();
  for (std::int64_t t = 0, document = 0; t < a.t; ++t) {
    while (bounds[document + 1] <= t) ++document;
    result.push_back({bounds[document], t - bounds[document]});
  }
  return result;
}

/// scale q[t, head] . k[s] in double.
inline double score(const Attention& a, std::int64_t t, std::int64_t head, std::int64_t s) {
  const auto [kv, g, d] = a.dims;
  double sum = 0;
  for (std::int64_t c = 0; c < d; ++c) {
    sum += double{get(a.q, (t * kv * g + head) * d + c)} *
           double{get(a.k, (s * kv + head / g) * d + c)};
  }
  return double{a.scale} * sum;
}
inline double lse(const Attention& a, std::int64_t head, std::int64_t t) {
  return double{a.lse.as<float>()[head * a.t + t]};
}

/// The definition, row by row in double.
struct Reference {
  Tensors memory;
  Tensor o, lse, dq, dk, dv;

  explicit Reference(Attention& a) {
    const auto [kv, g, d] = a.dims;
    o = memory.zeros(a.q.shape()), dq = memory.zeros(a.q.shape()),
    lse = memory.zeros(a.lse.shape());
    dk = memory.zeros(a.k.shape()), dv = memory.zeros(a.k.shape());
    const auto f32 = [&](const Tensor& x) { return memory.copy(x, DType::f32); };
    const Tensor q = f32(a.q), k = f32(a.k), v = f32(a.dense(a.wide)), d_o = f32(a.d_o);
    const auto row = [d = d](const Tensor& x, std::int64_t i) { return x.as<float>() + i * d; };
    const auto dot = [d = d](const float* x, const float* y) {
      double sum = 0;
      for (std::int64_t c = 0; c < d; ++c) sum += double{x[c]} * double{y[c]};
      return sum;
    };
    const auto add = [d = d](float* to, double factor, const float* x) {
      for (std::int64_t c = 0; c < d; ++c) to[c] += static_cast<float>(factor * double{x[c]});
    };
    const auto* bounds = a.documents.as<std::int32_t>();
    for (std::int64_t head = 0; head < kv * g; ++head) {
      const auto key = [kv = kv, j = head / g](std::int64_t s) { return s * kv + j; };
      for (std::int64_t t = 0, first = 0, document = 0; t < a.t; ++t) {
        while (bounds[document + 1] <= t) first = bounds[++document];
        const std::int64_t query = t * kv * g + head;
        std::vector<double> p, dp;
        for (std::int64_t s = first; s <= t; ++s) {
          p.push_back(double{a.scale} * dot(row(q, query), row(k, key(s))));
          dp.push_back(dot(row(d_o, query), row(v, key(s))));
        }
        const double highest = *std::ranges::max_element(p);
        double sum = 0, delta = 0;
        for (double& x : p) sum += x = std::exp(x - highest);
        for (std::size_t i = 0; i < p.size(); ++i) delta += (p[i] /= sum) * dp[i];
        lse.as<float>()[head * a.t + t] = static_cast<float>(highest + std::log(sum));
        for (std::size_t i = 0; i < p.size(); ++i) {
          const std::int64_t s = key(first + static_cast<std::int64_t>(i));
          const double ds = double{a.scale} * p[i] * (dp[i] - delta);
          add(row(o, query), p[i], row(v, s));
          add(row(dv, s), p[i], row(d_o, query));
          add(row(dq, query), ds, row(k, s));
          add(row(dk, s), ds, row(q, query));
        }
      }
    }
  }
};

}  // namespace hg::test
