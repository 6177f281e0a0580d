#include "train/bench/bench_ops.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace hg {
namespace {

TEST(BenchOps, RejectsAnOpThatItCannotMeasure) {
  EXPECT_THROW(bench_op("grouped", detect_cpu(), DType::f32, 1), Error);
}

}  // namespace
}  // namespace hg
