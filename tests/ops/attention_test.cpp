#include "ops/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "ops/cpu/attention_tiles.h"
#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// Sums over up to 300 keys of products whose factors, weights among them, were rounded to `dtype`;
/// dS is a difference, which adds the rounding of o to its own.
constexpr double gradient_rounding(DType dtype) { return dtype == DType::bf16 ? 1.2e-2 : 3e-6; }

/// Scores near 1000 are exact to 1e-7 of that, and so are the exponents of the weights.
constexpr double large_scores_rounding(DType dtype) { return dtype == DType::bf16 ? 8e-3 : 1e-4; }

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
  void forward() {
    run_op(AttentionForward{
        .o = o, .lse = lse, .q = q, .k = k, .v = v, .documents = documents, .scale = scale});
  }
  void backward() {
    run_op(AttentionBackward{.dq = dq,
                             .dk = dk,
                             .dv = dv,
                             .d_o = d_o,
                             .q = q,
                             .k = k,
                             .v = v,
                             .o = o,
                             .lse = lse,
                             .documents = documents,
                             .scale = scale});
  }
};

/// The definition, row by row in double. Results are f32.
struct Reference {
  Tensors memory;
  Tensor o, lse, dq, dk, dv;

  explicit Reference(Attention& a) {
    const auto [kv, g, d] = a.dims;
    o = memory.zeros(a.q.shape()), dq = memory.zeros(a.q.shape());
    dk = memory.zeros(a.k.shape()), dv = memory.zeros(a.k.shape());
    lse = memory.zeros(a.lse.shape());
    const Tensor v = a.dense(a.wide);
    const auto dot = [d = d](const Tensor& x, std::int64_t i, const Tensor& y, std::int64_t j) {
      double sum = 0;
      for (std::int64_t c = 0; c < d; ++c)
        sum += double{get(x, i * d + c)} * double{get(y, j * d + c)};
      return sum;
    };
    const auto add = [d = d](const Tensor& to, std::int64_t i, double factor, const Tensor& x,
                             std::int64_t j) {
      for (std::int64_t c = 0; c < d; ++c) {
        to.as<float>()[i * d + c] += static_cast<float>(factor * double{get(x, j * d + c)});
      }
    };
    const auto* bounds = a.documents.as<std::int32_t>();
    for (std::int64_t head = 0; head < kv * g; ++head) {
      std::int64_t first = 0, document = 0;
      for (std::int64_t row = 0; row < a.t; ++row) {
        while (bounds[document + 1] <= row) first = bounds[++document];
        const auto key = [kv = kv, j = head / g](std::int64_t s) { return s * kv + j; };
        const std::int64_t query = row * kv * g + head;
        std::vector<double> p;
        double highest = -1e300, sum = 0, delta = 0;
        for (std::int64_t s = first; s <= row; ++s) {
          p.push_back(double{a.scale} * dot(a.q, query, a.k, key(s)));
          highest = std::max(highest, p.back());
        }
        for (double& x : p) sum += x = std::exp(x - highest);
        lse.as<float>()[head * a.t + row] = static_cast<float>(highest + std::log(sum));
        for (std::int64_t s = first; s <= row; ++s) {
          double& weight = p[static_cast<std::size_t>(s - first)];
          weight /= sum;
          add(o, query, weight, v, key(s));
          add(dv, key(s), weight, a.d_o, query);
          delta += weight * dot(a.d_o, query, v, key(s));
        }
        for (std::int64_t s = first; s <= row; ++s) {
          const double ds = p[static_cast<std::size_t>(s - first)] *
                            (dot(a.d_o, query, v, key(s)) - delta) * double{a.scale};
          add(dq, query, ds, a.k, key(s));
          add(dk, key(s), ds, a.q, query);
        }
      }
    }
  }
};

void expect_definition(Attention& a) {
  SCOPED_TRACE(fmt::format("{} T={} KV={} G={} D={}", name_of(a.q.dtype()), a.t, a.dims.kv,
                           a.dims.g, a.dims.d));
  a.forward();
  a.backward();
  const Reference expected(a);
  const DType dtype = a.q.dtype();
  EXPECT_LT(relative_error(a.o, expected.o), rounding(dtype));
  EXPECT_LT(relative_error(a.lse, expected.lse), kReordered);  // f32 in either
  EXPECT_LT(relative_error(a.dq, expected.dq), gradient_rounding(dtype));
  EXPECT_LT(relative_error(a.dk, expected.dk), gradient_rounding(dtype));
  EXPECT_LT(relative_error(a.dense(a.dwide), expected.dv), gradient_rounding(dtype));
}

class AttentionTest : public testing::TestWithParam<Engine> {};
INSTANTIATE_TEST_SUITE_P(Engines, AttentionTest, testing::ValuesIn(Engine::all()),
                         [](const auto& engine) { return engine.param.name; });

TEST_P(AttentionTest, FollowsTheDefinitionForEveryHeadSizeAndGroup) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const std::int64_t d : GetParam().head_sizes()) {
      for (const std::int64_t g : {1, 2, 4}) {
        Attention a(GetParam(), dtype, {.kv = g == 1 ? 2 : 1, .g = g, .d = d}, {1, 37, 5});
        expect_definition(a);
      }
    }
  }
}

TEST_P(AttentionTest, FollowsTheDefinitionAcrossBlocks) {
  std::vector<std::int32_t> many(60, 1);  // of one token, around one that sees more than itself
  many[30] = 90;
  const std::vector<std::vector<std::int32_t>> packings{
      {300}, {64, 64, 128}, {63, 65, 1, 127, 129}, {2, 1, 200, 0, 1, 17, 1}, many};
  for (const DType dtype : GetParam().dtypes()) {
    for (const auto& lengths : packings) {
      Attention a(GetParam(), dtype, {.kv = 1, .g = 2, .d = 32}, lengths);
      expect_definition(a);
    }
  }
}

TEST_P(AttentionTest, BackwardAgreesWithFiniteDifferences) {
  if (GetParam().tiles) return;  // bf16 is too coarse to nudge
  Attention a(GetParam(), DType::f32, {.kv = 1, .g = 2, .d = 8}, {5, 1, 7});
  a.v = a.memory.normal("v", a.k.shape());  // contiguous, to be nudged element by element
  a.dv = a.memory.empty(a.k.shape());
  a.forward();
  a.backward();
  expect_gradients({.forward = [&] { a.forward(); },
                    .outputs = {{a.o, a.d_o}},
                    .inputs = {{"q", a.q, a.dq}, {"k", a.k, a.dk}, {"v", a.v, a.dv}}});
}

TEST_P(AttentionTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  // One long document is cut into passes of its own where threads outnumber the groups; many are
  // not.
  for (const std::vector<std::int32_t>& lengths :
       {std::vector{700}, std::vector{90, 1, 300, 2, 80, 79}}) {
    for (const DType dtype : GetParam().dtypes()) {
      const Dims dims{.kv = 1, .g = 2, .d = 32};
      set_num_threads(1);
      Attention one(GetParam(), dtype, dims, lengths);
      one.forward();
      one.backward();
      for (const int threads : {2, 5}) {
        set_num_threads(threads);
        Attention many(GetParam(), dtype, dims, lengths);
        many.forward();
        many.backward();
        EXPECT_TRUE(same_bits(one.o, many.o));
        EXPECT_TRUE(same_bits(one.lse, many.lse));
        EXPECT_TRUE(same_bits(one.dq, many.dq));
        EXPECT_TRUE(same_bits(one.dk, many.dk));
        EXPECT_TRUE(same_bits(one.dense(one.dwide), many.dense(many.dwide)));
      }
    }
  }
  set_num_threads(before);
}

TEST_P(AttentionTest, DocumentsDoNotSeeEachOther) {
  for (const DType dtype : GetParam().dtypes()) {
    const Dims dims{.kv = 1, .g = 1, .d = 32};
    Attention clean(GetParam(), dtype, dims, {20, 9, 70}),
        spoilt(GetParam(), dtype, dims, {20, 9, 70});
    for (const Tensor& x : {spoilt.q, spoilt.k, spoilt.d_o}) {
      for (std::int64_t i = 20 * 32; i < 29 * 32; ++i) set(x, i, NAN);  // the whole second document
    }
    for (std::int64_t i = 20 * 32; i < 29 * 32; ++i) set(spoilt.wide, spoilt.wide_index(i), NAN);
    for (Attention* a : {&clean, &spoilt}) a->forward(), a->backward();
    const auto expect_same = [](const Tensor& x, const Tensor& y) {
      EXPECT_TRUE(same_bits(x.rows(0, 20), y.rows(0, 20)));
      EXPECT_TRUE(same_bits(x.rows(29, 99), y.rows(29, 99)));
      EXPECT_TRUE(std::isnan(get(y, 25 * 32)));
    };
    expect_same(clean.o, spoilt.o);
    expect_same(clean.dq, spoilt.dq);
    expect_same(clean.dk, spoilt.dk);
    expect_same(clean.dense(clean.dwide), spoilt.dense(spoilt.dwide));
  }
}

TEST_P(AttentionTest, WritesNothingBesideItsSlice) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 2, .g = 1, .d = 32}, {50, 33});
    for (std::int64_t i = 0; i < a.dwide.numel(); ++i) set(a.dwide, i, 7);
    a.forward();
    a.backward();
    for (std::int64_t i = 0; i < a.dwide.numel(); ++i) {
      const std::int64_t column = i % a.dwide.dim(1);
      if (column < 3 || column >= 3 + 2 * 32) {
        ASSERT_EQ(get(a.dwide, i), 7) << "element " << i;
      }
    }
  }
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 1, .g = 1, .d = 32}, {150});
    for (std::int64_t i = 0; i < a.q.numel(); ++i) set(a.q, i, 50 * get(a.q, i));
    a.forward();
    const Reference expected(a);
    EXPECT_LT(relative_error(a.lse, expected.lse), kReordered);
    EXPECT_LT(relative_error(a.o, expected.o), large_scores_rounding(dtype));
  }
}

TEST(Attention, RejectsWrongOperands) {
  const Engine vectors{"", Isa::avx2, {}};
  Attention a(vectors, DType::f32, {.kv = 1, .g = 1, .d = 8}, {4, 3});
  a.documents = a.memory.integers({0, 4, 6});
  EXPECT_THROW(a.forward(), Error);
  a.documents = a.memory.integers({0, 5, 4, 7});
  EXPECT_THROW(a.backward(), Error);
  a.documents = a.memory.integers({0, 7});
  a.scale = 0;
  EXPECT_THROW(a.forward(), Error);
  a.scale = 1;
  a.k = a.memory.normal("k", {7, 1, 1, 16});
  EXPECT_THROW(a.forward(), Error);
}

}  // namespace
}  // namespace hg::test
