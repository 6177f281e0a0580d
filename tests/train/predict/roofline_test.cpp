#include "train/predict/roofline.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "model/flops.h"
#include "train/bench/bench.h"
#include "train/layout.h"

namespace hg::test {
namespace {

constexpr int kRanks = 8;

RunConfig experts_on(std::int64_t expert, double capacity = 0) {
  RunConfig config = bench_config("tiny-moe");
  config.training.device = Device::cuda;
  config.training.precision = Precision::bf16;
  config.training.global_batch_size = kRanks * config.training.micro_batch_size;
  config.model.moe.capacity_factor = capacity;
  config.parallelism.expert = expert;
  return config;
}

StepPlan plan_of(const RunConfig& config) {
  return plan_step(config, detect_cpu(), Mesh::place(layout_of(config, kRanks), 0));
}

StepPrediction predict(const RunConfig& config, const StepPlan& plan) {
  return predict_step(
      config, plan, layout_of(config, kRanks), 0, gpu_specs("h100"),
      model_flops_per_token(config.model, *declare_model(config.model), config.training.seq_len));
}

double arena(const StepPlan& plan, const char* name) {
  for (const auto& part : plan.memory)
    if (part.name == name) return static_cast<double>(part.bytes);
  return 0;
}

TEST(Roofline, WorkDoesNotDependOnHowManyRanksShareExperts) {
  const StepPlan alone = plan_of(experts_on(1));
  for (const std::int64_t expert : {2, 4, 8}) {
    SCOPED_TRACE(expert);
    const StepPlan shared = plan_of(experts_on(expert));
    for (const auto& [name, op] : alone.trace.entries()) {
      const bool moves_rows = name == "unpermute";  // an exchange puts rows into order once more
      EXPECT_EQ(shared.trace.entries().at(name).cost.flops > op.cost.flops, moves_rows) << name;
      if (moves_rows) continue;
      EXPECT_DOUBLE_EQ(shared.trace.entries().at(name).cost.flops, op.cost.flops) << name;
    }
    EXPECT_NEAR(shared.trace.total().cost.flops / alone.trace.total().cost.flops, 1, 1e-3);
    // A rank's rows leave it but for those that stay: (n - 1) / n of 4096 tokens, 2 experts each,
    // two times there and two times back in each of 4 layers, and 4 bytes of weights.
    const double rows = 4096 * 2 * (1 - 1.0 / static_cast<double>(expert));
    const double sent = shared.trace.entries().at("all_to_all").cost.bytes;
    EXPECT_NEAR(sent / (4 * rows * (4 * 128 * 2 + 2 * 4)), 1, 1e-2);
  }
}

TEST(Roofline, MemoryIsPlannedForAllRowsWhereverTheyGo) {
  const double alone = arena(plan_of(experts_on(1)), "activations");
  const double shared = arena(plan_of(experts_on(8)), "activations");
  const double capped = arena(plan_of(experts_on(8, 1.0)), "activations");
  EXPECT_GT(shared, 4 * alone);
  EXPECT_LT(capped, 1.5 * alone);
}

TEST(Roofline, ExpertsAreExchangedAmongTheRanksThatHaveThem) {
  for (const std::int64_t stage : {0, 1, 2, 3}) {
    for (const std::int64_t expert : {1, 2, 8}) {
      SCOPED_TRACE(fmt::format("ZeRO {}, {} ranks share experts", stage, expert));
      RunConfig config = experts_on(expert);
      config.parallelism.zero_stage = stage;
      const StepPlan plan = plan_of(config);
      // 4 layers of 8 experts, of 3 matrices each.
      const double experts = 4.0 * 8 / static_cast<double>(expert) * 3 * 128 * 192;
      const double others =
          static_cast<double>(plan.total_parameters()) - experts * static_cast<double>(expert);
      const double n = kRanks, n_experts = n / static_cast<double>(expert);
      const double elements = others * (n - 1) / n + experts * (n_experts - 1) / n_experts;
      // f32 gradients and bf16 weights, in one micro-batch.
      const double bytes_each[] = {2 * 4, 4 + 2, 4 + 2, 4 + 2 * 2};
      const double speed = gpu_specs("h100").link_speed * RooflineAssumptions().network_share;
      EXPECT_DOUBLE_EQ(predict(config, plan).exchange, elements * bytes_each[stage] / speed);
    }
  }
}

}  // namespace
}  // namespace hg::test
