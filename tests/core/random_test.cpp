#include "core/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace hg {
namespace {

// Known answers of Random123's philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffffffffffffULL),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(RandomStream, NormalHasMeanZeroAndVarianceOne) {
  const RandomStream stream(7, "layers.0.weight");
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = stream.normal(static_cast<std::uint64_t>(i));
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.01);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
}

TEST(RandomPermutation, VisitsEveryIndexOnceAndDependsOnTheSeed) {
  for (const std::uint64_t size : {1ULL, 2ULL, 5ULL, 64ULL, 1000ULL}) {
    const RandomPermutation permutation(3, "epoch", size);
    std::vector<int> seen(size, 0);
    for (std::uint64_t i = 0; i < size; ++i) ++seen[permutation(i)];
    EXPECT_EQ(seen, std::vector<int>(size, 1)) << size;
  }
  const RandomPermutation a(3, "epoch", 1000), b(4, "epoch", 1000);
  int equal = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) equal += a(i) == b(i) ? 1 : 0;
  EXPECT_LT(equal, 20);
}

}  // namespace
}  // namespace hg
