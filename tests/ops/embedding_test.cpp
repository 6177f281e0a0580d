#include "ops/embedding.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

struct Embedding {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor y, dy, tokens, weight, dweight;

  /// Tokens repeat: the square of a uniform number favours the low ones, as text does.
  Embedding(Isa isa, std::int64_t count, std::int64_t vocabulary, std::int64_t d, DType dtype)
      : ctx(cpu_context(isa)) {
    y = memory.empty({count, d}, dtype);
    dy = memory.normal("dy", {count, d}, dtype);
    weight = memory.normal("weight", {vocabulary, d}, dtype);
    dweight = memory.empty({vocabulary, d});
    std::vector<std::int32_t> values;
    const RandomStream stream(1, "tokens");
    for (std::int64_t t = 0; t < count; ++t) {
      const float u = stream.uniform(static_cast<std::uint64_t>(t));
      values.push_back(static_cast<std::int32_t>(u * u * static_cast<float>(vocabulary)));
    }
    tokens = memory.integers(values);
  }
  void forward() { forward(y, 0, weight.dim(0)); }
  void backward(bool accumulate = false) { backward(0, weight.dim(0), accumulate); }
  /// The part of a rank that has rows [begin, end).
  void forward(Tensor part, std::int64_t begin, std::int64_t end) {
    run(*ctx, EmbeddingForward{.y = part,
                               .tokens = tokens,
                               .weight = weight.rows(begin, end),
                               .first = begin,
                               .vocab = weight.dim(0)});
  }
  void backward(std::int64_t begin, std::int64_t end, bool accumulate) {
    run(*ctx, EmbeddingBackward{.dweight = dweight.rows(begin, end),
                                .dy = dy,
                                .tokens = tokens,
                                .first = begin,
                                .vocab = weight.dim(0),
                                .accumulate = accumulate});
  }
  std::int32_t token(std::int64_t t) const { return tokens.as<std::int32_t>()[t]; }
};

class EmbeddingTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, EmbeddingTest, testing::ValuesIn(isas()));

TEST_P(EmbeddingTest, ForwardCopiesRows) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Embedding e(GetParam(), 50, 13, 21, dtype);
    e.forward();
    for (std::int64_t t = 0; t < 50; ++t) {
      EXPECT_TRUE(same_bits(e.y.rows(t, t + 1), e.weight.rows(e.token(t), e.token(t) + 1)));
    }
  }
}

TEST_P(EmbeddingTest, BackwardAddsInTheOrderOfTokens) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t vocabulary : {1, 7, 64, 65, 1000}) {
      constexpr std::int64_t kD = 21;
      Embedding e(GetParam(), 300, vocabulary, kD, dtype);
      e.backward();
      const Tensor expected = e.memory.zeros(e.dweight.shape());
      for (int pass = 0; pass < 2; ++pass) {
        for (std::int64_t i = 0; i < e.dy.numel(); ++i) {
          const std::int64_t to = e.token(i / kD) * kD + i % kD;
          set(expected, to, get(expected, to) + get(e.dy, i));
        }
        EXPECT_TRUE(same_bits(e.dweight, expected)) << vocabulary << " pass " << pass;
        e.backward(true);
      }
    }
  }
}

TEST_P(EmbeddingTest, BackwardAgreesWithFiniteDifferences) {
  Embedding e(GetParam(), 9, 5, 6, DType::f32);
  e.forward();
  e.backward();
  expect_gradients({.forward = [&] { e.forward(); },
                    .outputs = {{e.y, e.dy}},
                    .inputs = {{"weight", e.weight, e.dweight}}});
}

TEST_P(EmbeddingTest, PartsOfTheVocabularyMakeTheWhole) {
  const std::vector<std::int64_t> cuts{0, 1, 50, 117, 201};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Embedding whole(GetParam(), 300, 201, 21, dtype), parts(GetParam(), 300, 201, 21, dtype);
    whole.forward();
    const Tensor part = parts.memory.empty({300, 21}, dtype), sum = parts.memory.zeros({300, 21});
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      parts.forward(part, cuts[i], cuts[i + 1]);
      for (std::int64_t t = 0; t < 300; ++t) {
        const bool here = parts.token(t) >= cuts[i] && parts.token(t) < cuts[i + 1];
        for (std::int64_t j = t * 21; j < (t + 1) * 21; ++j) {
          EXPECT_EQ(get(part, j), here ? get(whole.y, j) : 0);
          set(sum, j, get(sum, j) + get(part, j));
        }
      }
    }
    EXPECT_TRUE(same_bits(parts.memory.copy(sum, dtype), whole.y));
    for (const bool accumulate : {false, true}) {
      whole.backward(accumulate);
      for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
        parts.backward(cuts[i], cuts[i + 1], accumulate);
      }
      EXPECT_TRUE(same_bits(parts.dweight, whole.dweight)) << accumulate;
    }
  }
}

// As a rank of a tensor-parallel run would: its gradient is that of its rows, whatever the others'.
TEST_P(EmbeddingTest, PartAgreesWithFiniteDifferences) {
  Embedding e(GetParam(), 30, 9, 6, DType::f32);
  e.forward(e.y, 3, 7);
  e.backward(3, 7, false);
  expect_gradients({.forward = [&] { e.forward(e.y, 3, 7); },
                    .outputs = {{e.y, e.dy}},
                    .inputs = {{"weight", e.weight.rows(3, 7), e.dweight.rows(3, 7)}}});
}

TEST_P(EmbeddingTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  Embedding one(GetParam(), 500, 200, 40, DType::f32), two(GetParam(), 500, 200, 40, DType::f32);
  set_num_threads(1);
  one.forward();
  one.backward();
  set_num_threads(2);
  two.forward();
  two.backward();
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.y, two.y));
  EXPECT_TRUE(same_bits(one.dweight, two.dweight));
}

TEST_P(EmbeddingTest, RejectsTokensOutsideTheVocabulary) {
  Embedding e(GetParam(), 30, 13, 8, DType::f32);
  for (const std::int32_t bad : {13, -1}) {
    e.tokens.as<std::int32_t>()[17] = bad;
    EXPECT_THROW(e.backward(), Error);
    EXPECT_THROW(e.forward(e.y, 4, 9), Error);
    EXPECT_THROW(e.backward(4, 9, false), Error);
    try {
      e.forward();
      FAIL() << "token " << bad << " went through";
    } catch (const Error& error) {
      EXPECT_EQ(
          std::string(error.what()),
          fmt::format("embedding_forward: tokens[17] is {}, expected a value in [0, 13)", bad));
    }
  }
}

TEST(EmbeddingOp, RejectsRowsOutsideTheVocabulary) {
  const Embedding e(Isa::avx2, 4, 13, 8, DType::f32);
  for (const std::int64_t first : {-1, 1}) {
    EXPECT_THROW(
        run(*e.ctx,
            EmbeddingForward{
                .y = e.y, .tokens = e.tokens, .weight = e.weight, .first = first, .vocab = 13}),
        Error);
    EXPECT_THROW(run(*e.ctx, EmbeddingBackward{.dweight = e.dweight,
                                               .dy = e.dy,
                                               .tokens = e.tokens,
                                               .first = first,
                                               .vocab = 13,
                                               .accumulate = false}),
                 Error);
  }
}

TEST(EmbeddingOp, RejectsAWrongShape) {
  Embedding e(Isa::avx2, 4, 13, 8, DType::f32);
  e.y = e.memory.empty({5, 8});
  EXPECT_THROW(e.forward(), Error);
  e.dweight = e.memory.empty({13, 9});
  EXPECT_THROW(e.backward(), Error);
}

}  // namespace
}  // namespace hg::test
