// What every op must do, whatever it computes: the same bits for any number of threads, and no more
// scratch than a meta run measured.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "ops/op.h"
#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {

/// Calls `compute`, which makes its results anew, with 1, 2 and 3 threads, and expects the same
/// bits.
inline void expect_same_bits_for_any_thread_count(
    const std::function<std::vector<Tensor>()>& compute) {
  const int before = num_threads();
  set_num_threads(1);
  const std::vector<Tensor> alone = compute();
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    const std::vector<Tensor> together = compute();
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_TRUE(same_bits(alone[i], together[i])) << "result " << i << ", " << threads;
    }
  }
  set_num_threads(before);
}

/// Runs `op` in just the scratch that a meta run measures, and expects all of it back.
template <class Op>
void expect_measured_scratch_suffices(const Op& op, Isa isa) {
  Context meta;
  meta.device = Device::meta;
  run(meta, op);
  const auto ctx = std::make_unique<Context>();
  ctx->cpu.isa = isa;
  ctx->scratch.reserve(meta.scratch.high_water());
  EXPECT_NO_THROW(run(*ctx, op));
  EXPECT_EQ(ctx->scratch.used(), 0U);
}

/// Expects a measured value within kMeasured of the exact one, relative or absolute; NaN for NaN
/// and infinity for infinity.
inline void expect_measured(float value, double exact, const std::string& what) {
  if (std::isnan(exact) || std::isinf(exact)) {
    EXPECT_TRUE(std::isnan(exact) ? std::isnan(value) : value == static_cast<float>(exact))
        << what << " is " << value << ", expected " << exact;
  } else {
    EXPECT_NEAR(double{value}, exact, kMeasured * std::max(1.0, std::abs(exact))) << what;
  }
}

}  // namespace hg::test
