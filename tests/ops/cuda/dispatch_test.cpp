// The CUDA bodies of ops/dispatch.h, on a simulated device, against the CPU's: all have the same
// bits.
#include "ops/dispatch.h"

#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/expert_plan.h"

namespace hg::test {
namespace {

TEST(CudaDispatch, ExpertPlanIsTheCpus) {
  struct Case {
    std::int64_t tokens, k, experts, capacity;
  };
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : {Case{0, 2, 3, 0},
                            {1, 1, 1, 0},
                            {8, 2, 5, 2},
                            {300, 4, 9, 100},
                            {600, 3, 70, 0},
                            {2600, 1, 4, 600},
                            {3, 2, 1100, 0}}) {
      const Plan plan(Isa::avx2, random_choices(its.tokens, its.k, its.experts), its.k, its.experts,
                      its.capacity);
      plan.make();
      DeviceTensors device;
      Tensors host;
      ExpertPlan op = plan.op();
      op.experts = device.copy(plan.experts);
      op.rows = device.empty(plan.rows.shape(), DType::i32);
      op.counts = device.empty(plan.counts.shape(), DType::i32);
      op.offsets = device.empty(plan.offsets.shape(), DType::i32);
      op.dropped = device.empty({1}, DType::i32);
      cuda_kernel(op, *plan.ctx, nullptr);
      EXPECT_TRUE(same_bits(to_host(op.counts, host), plan.counts)) << its.tokens;
      EXPECT_TRUE(same_bits(to_host(op.offsets, host), plan.offsets)) << its.tokens;
      EXPECT_TRUE(same_bits(to_host(op.rows, host), plan.rows)) << its.tokens;
      EXPECT_TRUE(same_bits(to_host(op.dropped, host), plan.dropped)) << its.tokens;
    }
  }
}

TEST(CudaDispatch, ArrivalPlanIsTheCpus) {
  struct Case {
    std::int64_t ranks, experts, spare;
    std::int32_t most;  // rows of a rank for an expert
  };
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its :
         {Case{1, 1, 0, 5}, {2, 3, 4, 4}, {3, 40, 0, 9}, {2, 1030, 7, 3}, {4, 5, 3, 1}}) {
      Tensors host;
      DeviceTensors device;
      std::vector<std::int32_t> numbers;
      std::int64_t rows = its.spare;
      for (std::int64_t i = 0; i < its.ranks * its.experts; ++i) {
        numbers.push_back(static_cast<std::int32_t>(i * 7 % 11 % its.most));
        rows += numbers.back();
      }
      const Tensor counts = host.integers(numbers).view({its.ranks, its.experts});
      const ArrivalPlan op{.places = host.empty({rows, 1}, DType::i32),
                           .offsets = host.empty({its.experts + 1}, DType::i32),
                           .counts = counts};
      run(*ctx, op);
      const ArrivalPlan cuda{.places = device.empty({rows, 1}, DType::i32),
                             .offsets = device.empty({its.experts + 1}, DType::i32),
                             .counts = device.copy(counts)};
      cuda_kernel(cuda, *ctx, nullptr);
      EXPECT_TRUE(same_bits(to_host(cuda.places, host), op.places)) << its.experts;
      EXPECT_TRUE(same_bits(to_host(cuda.offsets, host), op.offsets)) << its.experts;
    }
  }
}

struct Case {
  std::int64_t tokens, h, k, capacity;
  bool shifted = false;
};

std::vector<Case> cases() {
  return {{.tokens = 1, .h = 1, .k = 1, .capacity = 0},
          {.tokens = 20, .h = 19, .k = 3, .capacity = 9},
          {.tokens = 20, .h = 64, .k = 7, .capacity = 4},
          {.tokens = 12, .h = 2056, .k = 2, .capacity = 0},
          {.tokens = 12, .h = 32, .k = 2, .capacity = 3, .shifted = true},
          {.tokens = 0, .h = 8, .k = 2, .capacity = 0}};
}

/// A plan on both devices.
struct Plans {
  Plan plan;
  DeviceTensors device;
  Tensors host;
  Tensor rows;
  std::int64_t choices;

  explicit Plans(const Case& its)
      : plan(Isa::avx2, random_choices(its.tokens, its.k, 7), its.k, 7, its.capacity),
        choices(its.tokens * its.k) {
    plan.make();
    rows = device.copy(plan.rows);
  }
};

TEST(CudaDispatch, RowsHaveTheBitsOfTheCpus) {
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : cases()) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        Plans p(its);
        const Tensor tokens = p.host.normal("tokens", {its.tokens, its.h}, dtype),
                     rows = p.host.normal("rows", {p.choices, its.h}, dtype),
                     base = p.host.normal("base", tokens.shape(), dtype),
                     sums = p.host.empty(tokens.shape(), dtype);
        const Tensor device_tokens = p.device.copy(tokens, its.shifted),
                     device_rows = p.device.copy(rows, its.shifted),
                     device_base = p.device.copy(base, its.shifted),
                     device_sums = p.device.copy(sums, its.shifted);
        run(*p.plan.ctx, Permute{.y = rows, .x = tokens, .rows = p.plan.rows});
        cuda_kernel(Permute{.y = device_rows, .x = device_tokens, .rows = p.rows}, *p.plan.ctx,
                    nullptr);
        EXPECT_TRUE(same_bits(to_host(device_rows, p.host), rows)) << its.h;
        run(*p.plan.ctx, Unpermute{.y = sums, .x = rows, .base = {}, .rows = p.plan.rows});
        cuda_kernel(Unpermute{.y = device_sums, .x = device_rows, .base = {}, .rows = p.rows},
                    *p.plan.ctx, nullptr);
        EXPECT_TRUE(same_bits(to_host(device_sums, p.host), sums)) << its.h;
        const Tensor used = p.host.integers({static_cast<std::int32_t>(its.tokens / 2)});
        run(*p.plan.ctx,
            Unpermute{.y = base, .x = rows, .base = base, .rows = p.plan.rows, .used = used});
        cuda_kernel(Unpermute{.y = device_base,
                              .x = device_rows,
                              .base = device_base,
                              .rows = p.rows,
                              .used = p.device.copy(used)},
                    *p.plan.ctx, nullptr);
        EXPECT_TRUE(same_bits(to_host(device_base, p.host), base)) << its.h;
      }
    }
  }
}

TEST(CudaDispatch, WeightsHaveTheBitsOfTheCpus) {
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : cases()) {
      Plans p(its);
      const Tensor weights = p.host.normal("weights", {its.tokens, its.k}),
                   rows = p.host.normal("rows", {p.choices}), back = p.host.empty(weights.shape());
      const Tensor device_rows = p.device.copy(rows), device_back = p.device.empty(back.shape());
      run(*p.plan.ctx, PermuteWeights{.y = rows, .x = weights, .rows = p.plan.rows});
      cuda_kernel(PermuteWeights{.y = device_rows, .x = p.device.copy(weights), .rows = p.rows},
                  *p.plan.ctx, nullptr);
      EXPECT_TRUE(same_bits(to_host(device_rows, p.host), rows)) << its.tokens;
      run(*p.plan.ctx, UnpermuteWeights{.y = back, .x = rows, .rows = p.plan.rows});
      cuda_kernel(UnpermuteWeights{.y = device_back, .x = device_rows, .rows = p.rows}, *p.plan.ctx,
                  nullptr);
      EXPECT_TRUE(same_bits(to_host(device_back, p.host), back)) << its.tokens;
    }
  }
}

}  // namespace
}  // namespace hg::test
