#include "core/clock.h"

#include <gtest/gtest.h>

namespace hg::test {
namespace {

TEST(Clock, CountsInSeconds) {
  const auto start = Clock::now() - std::chrono::milliseconds(2500);
  EXPECT_GE(seconds_since(start), 2.5);
}

}  // namespace
}  // namespace hg::test
