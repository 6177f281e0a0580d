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
  void forward() { run(*ctx, EmbeddingForward{.y = y, .tokens = tokens, .weight = weight}); }
  void backward(bool accumulate = false) {
    run(*ctx, EmbeddingBackward{
                  .dweight = dweight, .dy = dy, .tokens = tokens, .accumulate = accumulate});
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

TEST(EmbeddingOp, RejectsAWrongShape) {
  Embedding e(Isa::avx2, 4, 13, 8, DType::f32);
  e.y = e.memory.empty({5, 8});
  EXPECT_THROW(e.forward(), Error);
  e.dweight = e.memory.empty({13, 9});
  EXPECT_THROW(e.backward(), Error);
}

}  // namespace
}  // namespace hg::test
