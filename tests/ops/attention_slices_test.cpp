// Attention of some queries over the keys of all: what ranks that share tokens compute of it, put
// together, against the whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/attention_part.h"
#include "support/compare.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// As in attention_test.cpp; and a sum of parts, each rounded once more.
constexpr double gradient_rounding(DType dtype) { return dtype == DType::bf16 ? 1.2e-2 : 3e-6; }

/// to += x, element by element.
void add(const Tensor& to, const Tensor& x, std::int64_t i, std::int64_t from) {
  set(to, i, get(to, i) + get(x, from));
}

/// The parts between `bounds` against the whole.
void expect_whole(const Engine& engine, DType dtype, Dims dims,
                  const std::vector<std::int32_t>& lengths,
                  const std::vector<std::int64_t>& bounds) {
  SCOPED_TRACE(fmt::format("{} T={} KV={} G={} D={} in {} runs", name_of(dtype), bounds.back(),
                           dims.kv, dims.g, dims.d, bounds.size() - 1));
  Attention whole(engine, dtype, dims, lengths);
  ASSERT_EQ(whole.t, bounds.back());
  whole.forward();
  whole.backward();
  Tensors memory;
  const Tensor dk = memory.zeros(whole.k.shape()), dv = memory.zeros(whole.k.shape());
  for (const auto& runs : from_both_ends(bounds)) {
    AttentionPart part(whole, runs);
    part.run();
    EXPECT_LT(relative_error(part.o, part.rows_of(whole.o)), rounding(dtype));
    EXPECT_LT(relative_error(part.lse, part.columns_of(whole.lse)), kReordered);
    EXPECT_LT(relative_error(part.dq, part.rows_of(whole.dq)), gradient_rounding(dtype));
    const std::int64_t row = dims.kv * dims.d;
    for (std::int64_t i = 0; i < dk.numel(); ++i) {
      const std::int64_t both = i / row * 2 * row + i % row;
      const Tensor flat(part.dk.data(), dtype, {2 * dk.numel()});
      add(dk, flat, i, both);
      add(dv, flat, i, both + row);
    }
  }
  EXPECT_LT(relative_error(dk, whole.dk), gradient_rounding(dtype));
  EXPECT_LT(relative_error(dv, whole.dense(whole.dwide)), gradient_rounding(dtype));
}

class AttentionSlicesTest : public testing::TestWithParam<Engine> {};
INSTANTIATE_TEST_SUITE_P(Engines, AttentionSlicesTest, testing::ValuesIn(Engine::all()),
                         [](const auto& engine) { return engine.param.name; });

TEST_P(AttentionSlicesTest, AreTheWholeForEveryHeadSizeAndGroup) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const std::int64_t d : GetParam().head_sizes()) {
      for (const std::int64_t g : {1, 2, 4})
        expect_whole(GetParam(), dtype, {.kv = 2, .g = g, .d = d}, {1, 37, 6}, {0, 11, 22, 33, 44});
    }
  }
}

TEST_P(AttentionSlicesTest, AreTheWholeAcrossBlocks) {
  struct Case {
    std::vector<std::int32_t> lengths;
    std::vector<std::int64_t> bounds;
  };
  const std::vector<Case> cases{
      {{304}, {0, 76, 152, 228, 304}},                   // equal pieces of one document
      {{304}, {0, 1, 64, 65, 129, 200, 203, 303, 304}},  // odd ones, of one token too
      {{64, 64, 128}, {0, 64, 128, 192, 256}},           // documents and pieces coincide
      {{63, 65, 1, 127, 128}, {0, 48, 96, 144, 192, 240, 288, 336, 384}},
      {{2, 1, 200, 0, 1, 17, 1}, {0, 100, 222}},                // one part that has it all
      {std::vector<std::int32_t>(96, 1), {0, 24, 48, 72, 96}},  // nobody sees another
      {{90, 300, 2}, {0, 0, 10, 160, 161, 161, 392}},           // nothing of one's own on one side
  };
  for (const DType dtype : GetParam().dtypes()) {
    for (const auto& [lengths, bounds] : cases)
      expect_whole(GetParam(), dtype, {.kv = 1, .g = 2, .d = 64}, lengths, bounds);
  }
}

TEST_P(AttentionSlicesTest, AWholeDocumentIsASlice) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention whole(GetParam(), dtype, {.kv = 1, .g = 2, .d = 32}, {130, 1, 0, 70});
    whole.forward();
    whole.backward();
    AttentionPart part(whole, {{0, whole.t}});
    part.run();
    EXPECT_TRUE(same_bits(part.o, whole.o));
    EXPECT_TRUE(same_bits(part.lse, whole.lse));
    EXPECT_TRUE(same_bits(part.dq, whole.dq));
    EXPECT_TRUE(same_bits(part.memory.copy(whole.dk, dtype), whole.dk));
    for (std::int64_t t = 0; t < whole.t; ++t)
      EXPECT_TRUE(same_bits(part.dk.rows(t, t + 1), whole.dk.rows(t, t + 1))) << "key " << t;
  }
}

TEST_P(AttentionSlicesTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  // One document is cut into passes of its own where threads outnumber the groups; many are not.
  for (const std::vector<std::int32_t>& lengths :
       {std::vector{700}, std::vector{90, 1, 300, 2, 80, 227}}) {
    for (const DType dtype : GetParam().dtypes()) {
      Attention whole(GetParam(), dtype, {.kv = 1, .g = 2, .d = 32}, lengths);
      const std::vector<TokenRun> runs{{70, 200}, {430, 641}};
      set_num_threads(1);
      AttentionPart one(whole, runs);
      one.run();
      for (const int threads : {2, 5}) {
        set_num_threads(threads);
        AttentionPart many(whole, runs);
        many.run();
        for (const auto& [x, y] :
             {std::pair{one.o, many.o}, {one.lse, many.lse}, {one.dq, many.dq}})
          EXPECT_TRUE(same_bits(x, y));
        const Shape both{2 * whole.k.numel()};
        EXPECT_TRUE(
            same_bits(Tensor(one.dk.data(), dtype, both), Tensor(many.dk.data(), dtype, both)));
      }
    }
  }
  set_num_threads(before);
}

TEST_P(AttentionSlicesTest, RunInTheScratchThatAMetaRunMeasures) {
  Attention whole(GetParam(), DType::bf16, {.kv = 2, .g = 2, .d = 64}, {130, 30});
  for (const bool backward : {false, true}) {
    AttentionPart part(whole, {{0, 40}, {120, 160}});
    Context meta;
    meta.device = Device::meta;
    backward ? run(meta, part.backward_op()) : run(meta, part.forward_op());
    whole.ctx = std::make_unique<Context>();
    whole.ctx->cpu.isa = GetParam().isa;
    whole.ctx->scratch.reserve(meta.scratch.high_water());
    EXPECT_NO_THROW(backward ? whole.run_op(part.backward_op()) : whole.run_op(part.forward_op()));
    EXPECT_EQ(whole.ctx->scratch.used(), 0U);
  }
}

TEST(AttentionSlices, RejectsSlicesThatMakeNoSense) {
  Attention whole({"", Isa::avx2, {}}, DType::f32, {.kv = 1, .g = 1, .d = 8}, {4, 3});
  AttentionPart part(whole, {{0, 2}, {3, 7}});  // of 2, 1 and 3 tokens
  const auto error = [&](const std::vector<std::int32_t>& keys) -> std::string {
    AttentionForward op = part.forward_op();
    op.keys = part.memory.integers(keys).view({std::ssize(keys) / 2, 2});
    try {
      whole.run_op(op);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(error({0, 2, 0, 4, 4, 7}), "");
  using testing::HasSubstr;
  EXPECT_THAT(error({0, 1, 0, 4, 4, 7}), HasSubstr("slice 0 of 2 queries sees keys 0 to 1 of 7"));
  EXPECT_THAT(error({0, 2, 1, 4, 4, 7}), HasSubstr("slice 1 of 1 queries sees keys 1 to 4"));
  EXPECT_THAT(error({0, 4, 0, 2, 4, 7}), HasSubstr("behind one that sees 0 to 4"));
  EXPECT_THAT(error({0, 2, 0, 4, 4, 8}), HasSubstr("slice 2 of 3 queries sees keys 4 to 8 of 7"));
  EXPECT_THAT(error({-1, 2, 0, 4, 4, 7}), HasSubstr("sees keys -1 to 2"));
  EXPECT_THAT(error({0, 2, 0, 4}), HasSubstr("operand 'keys' is i32 [2, 2], expected i32 [3, 2]"));
}

}  // namespace
}  // namespace hg::test
