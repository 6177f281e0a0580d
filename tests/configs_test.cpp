// Every config in the project parses and meta-runs (sweeps are train/sweep/points_test.cpp's); the
// paper's models have the paper's sizes.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "support/paths.h"
#include "support/tensors.h"
#include "train/run_model.h"

namespace hg::test {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> config_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(source_path("configs"))) {
    const bool sweep =
        entry.path().parent_path().filename() == "sweeps" && entry.path().stem() != "base";
    if (entry.path().extension() == ".yaml" && !sweep) files.push_back(entry.path());
  }
  return files;
}

StepPlan plan_of(const fs::path& file) {
  return plan_step(load_config<RunConfig>(file.string()).value, detect_cpu());
}

TEST(Configs, AllParseAndMetaRun) {
  const auto files = config_files();
  EXPECT_GE(files.size(), 7U);
  for (const auto& file : files) {
    const StepPlan plan = plan_of(file);
    EXPECT_GT(plan.total_parameters(), 0) << file;
    EXPECT_GT(plan.trace.total().cost.flops, 0) << file;
  }
}

/// Total parameters in millions, to the tenth, as the paper's facts state them or as arithmetic on
/// them gives.
TEST(Configs, ThePapersModelsHaveThePapersSizes) {
  const std::pair<const char*, double> expected[] = {
      {"dense-1.7b-28l", 1720.8},              // paper
      {"dense-1.7b-48l", 1705.9},              // paper
      {"moe-15b", 15577.8},                    // paper: 15.58B
      {"dense-1.7b-28l-elementwise", 1728.2},  // released checkpoint: FFN 5504
      {"dense-1.7b-28l-headwise", 1720.8 + 28 * 2048 * 16 / 1e6},
      {"dense-1.7b-48l-headwise", 1705.9 + 48 * 1536 * 16 / 1e6},
      // FFN 4608 -> 3968 takes 48 * 3 * 1536 * 640, the gate adds 48 * 1536 * 2048.
      {"dense-1.7b-48l-elementwise", 1705.9 + (48.0 * 1536 * 2048 - 48.0 * 3 * 1536 * 640) / 1e6},
  };
  for (const auto& [name, millions] : expected) {
    const auto plan = plan_of(fs::path(source_path("configs")) / (std::string(name) + ".yaml"));
    EXPECT_NEAR(static_cast<double>(plan.total_parameters()) / 1e6, millions, 0.06) << name;
  }
}

/// Both embeddings count, and of the experts the eight that a token takes.
TEST(Configs, TheMixtureOfExpertsHasItsActiveParameters) {
  EXPECT_NEAR(plan_of(source_path("configs/moe-15b.yaml")).active_parameters / 1e9, 1.99, 0.005);
}

/// Elements of all parameters that the baseline of the folder does not have, in millions.
double added_millions(const char* name) {
  const fs::path folder = source_path("configs/ablations/paper");
  const auto parameters = [&](const std::string& file) {
    return static_cast<double>(plan_of(folder / (file + ".yaml")).total_parameters());
  };
  return (parameters(name) - parameters("baseline")) / 1e6;
}

/// Column "+M" of table 1 of arXiv 2505.06708, with the digits that arithmetic adds.
TEST(Configs, GatesAddThePapersParameters) {
  const std::pair<const char*, double> expected[] = {
      {"kv-heads-8", 50.3},          {"query-heads-48", 201.3},
      {"experts-132", 453.2},        {"sdpa-elementwise", 201.3},
      {"value-elementwise", 25.2},   {"key-elementwise", 25.2},
      {"query-elementwise", 201.3},  {"output-elementwise", 100.7},
      {"sdpa-headwise", 1.57},       {"value-headwise", 0.197},
      {"sdpa-head-shared", 201.3},   {"value-head-shared", 25.2},
      {"sdpa-additive-silu", 201.3}, {"sdpa-silu", 201.3},
      {"sdpa-self-silu", 0},         {"sdpa-ns-sigmoid", 201.3},
      {"sdpa-group-norm", 0.0031},   {"sdpa-input-independent", 0.098}};
  for (const auto& [name, millions] : expected)
    EXPECT_NEAR(added_millions(name), millions, millions < 2 ? 0.005 : 0.06) << name;
}

/// Every ablation has a file at both sizes; but the tiny baseline is dense and has no experts.
TEST(Configs, AblationsComeInPairs) {
  const fs::path folder = source_path("configs/ablations");
  int files = 0;
  for (const auto& [here, there] : {std::pair("tiny", "paper"), std::pair("paper", "tiny")}) {
    for (const auto& entry : fs::directory_iterator(folder / here)) {
      if (entry.path().stem() == "experts-132") continue;
      EXPECT_TRUE(fs::exists(folder / there / entry.path().filename())) << entry.path();
      ++files;
    }
  }
  EXPECT_GE(files, 72);
}

/// At the start every tiny ablation guesses evenly, and every parameter has a finite gradient.
TEST(Configs, TinyAblationsTrain) {
  constexpr std::int64_t kTokens = 64;
  Tensors memory;
  std::vector<std::int32_t> ids, next, positions;
  for (std::int32_t t = 0; t < kTokens; ++t) {
    ids.push_back(t * 61 % 4096);
    next.push_back((t * 61 + 1) % 4096);
    positions.push_back(t);
  }
  const Batch batch{.tokens = memory.integers(ids),
                    .targets = memory.integers(next),
                    .positions = memory.integers(positions),
                    .documents = memory.integers({0, kTokens}),
                    .longest = kTokens};
  const fs::path folder = source_path("configs/ablations");
  std::vector<fs::directory_entry> entries;
  for (const char* of : {"tiny", "experts"})
    std::ranges::copy(fs::directory_iterator(folder / of), std::back_inserter(entries));
  for (const auto& entry : entries) {
    RunConfig config = load_config<RunConfig>(entry.path().string()).value;
    config.training.seq_len = kTokens;
    config.training.micro_batch_size = config.training.global_batch_size = 1;
    config.training.precision = Precision::f32;
    const CpuInfo cpu = detect_cpu();
    const auto run = make_training_model(config, cpu, plan_step(config, cpu));
    run->store.initialize(1);
    const TokenLosses losses = allocate_losses(run->tables, kTokens);
    run->model.forward_backward(run->ctx, batch, {}, losses);
    double loss = 0;
    for (std::int64_t t = 0; t < kTokens; ++t) loss += double{get(losses.loss, t)} / kTokens;
    EXPECT_NEAR(loss, std::log(4096.0), 0.1) << entry.path();
    for (const ParamState& state : run->store.states()) {
      double squares = 0;
      for (std::int64_t i = 0; i < state.gradient.numel(); ++i)
        squares += std::pow(double{get(state.gradient, i)}, 2);
      EXPECT_TRUE(std::isfinite(squares) && squares > 0) << entry.path() << " " << state.spec.name;
    }
  }
}

}  // namespace
}  // namespace hg::test
