// Whole runs in FP8, in small: the loss follows that of bf16, and whatever a bf16 run holds to, an
// FP8 run does.
#include <gtest/gtest.h>

#include <cmath>

#include "dist/run_ranks.h"
#include "support/small_run.h"

namespace hg::test {
namespace {

class Fp8RunTest : public SmallRun, public testing::WithParamInterface<Fp8> {
 protected:
  Fp8RunTest() {
    config.training.precision = Precision::bf16;
    config.training.fp8 = GetParam();
    config.model.head_dim = 32;  // that each of two ranks has multiples of 16
  }
  std::vector<double> losses(const std::string& name) const {
    std::vector<double> result;
    for (const auto& row : rows(name, "train"))
      result.push_back(row.at("loss_metrics/global_avg_loss"));
    return result;
  }
  /// Of every step, relative to the other run's.
  double largest_difference(const std::string& name, const std::string& other) const {
    const std::vector<double> its = losses(name), theirs = losses(other);
    EXPECT_EQ(its.size(), theirs.size());
    double largest = 0;
    for (std::size_t i = 0; i < its.size(); ++i)
      largest = std::max(largest, std::abs(its[i] - theirs[i]) / theirs[i]);
    return largest;
  }
};
INSTANTIATE_TEST_SUITE_P(Scales, Fp8RunTest, testing::Values(Fp8::tensor, Fp8::block),
                         [](const auto& one) { return std::string(enum_name(one.param)); });

TEST_P(Fp8RunTest, TheLossFollowsThatOfBf16) {
  config.training.steps = 30;
  run("fp8");
  config.training.fp8 = Fp8::off;
  run("bf16");
  const double difference = largest_difference("fp8", "bf16");
  EXPECT_LT(difference, 0.02);
  EXPECT_GT(difference, 0);
  EXPECT_LT(losses("fp8").back(), 0.7 * losses("fp8").front());
}

TEST_P(Fp8RunTest, AResumedRunIsTheSameRun) {
  run("whole");
  fs::create_directories(folder / "resumed" / "checkpoints");
  fs::copy(checkpoint("whole", "step-00000006"), checkpoint("resumed", "step-00000006"),
           fs::copy_options::recursive);
  run("resumed");
  EXPECT_EQ(weights("whole", "step-00000012"), weights("resumed", "step-00000012"));
}

TEST_P(Fp8RunTest, RecomputationChangesNoBit) {
  run("none");
  for (const auto& [recompute, name] :
       {std::pair{Recompute::cheap, "cheap"}, {Recompute::block, "block"}}) {
    config.training.recompute = recompute;
    run(name);
    EXPECT_EQ(weights("none", "step-00000012"), weights(name, "step-00000012")) << name;
  }
}

TEST_P(Fp8RunTest, ManyRanksFollowOne) {
  config.model.vocab_size = 260;  // which two divide
  run("one");
  for (const auto& [zero, tensor, name] :
       {std::tuple{1, 1, "zero1"}, {3, 1, "zero3"}, {1, 2, "tensor2"}}) {
    config.parallelism = {.zero_stage = zero};
    config.parallelism.tensor = tensor;
    const std::string resolved = to_yaml(config);
    run_ranks(2, [&](Comm& world) {
      train(config, {.folder = folder / name,
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world,
                     .peak_flops = 1e12});
    });
    EXPECT_LT(largest_difference(name, "one"), 0.02) << name;
  }
}

TEST_P(Fp8RunTest, AWidthThatFp8DoesNotTakeIsRefusedBeforeTheFirstStep) {
  config.model.intermediate_size = 40;
  EXPECT_NE(error_of_run("run").find("training.fp8: a linear layer of 64 tokens"),
            std::string::npos);
  EXPECT_FALSE(fs::exists(folder / "run" / "metrics.jsonl"));
}

}  // namespace
}  // namespace hg::test
