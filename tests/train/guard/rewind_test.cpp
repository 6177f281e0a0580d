// What is said of bad steps.
#include "train/guard/rewind.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hg::test {
namespace {

// Processors make NaNs with the sign bit set, which formatting would show.
TEST(DescribeBadStep, ANanHasNoSign) {
  StepResult result;
  result.verdict.bad = BadStep::not_finite;
  result.loss = std::copysign(NAN, -1.0);
  result.grad_norm = 2.5;
  EXPECT_EQ(describe(result), "loss nan, gradient norm 2.5: not finite");
}

}  // namespace
}  // namespace hg::test
