// Every config in the project parses and meta-runs; the paper's models have the paper's sizes.
#include <gtest/gtest.h>

#include <filesystem>

#include "train/run_model.h"

namespace hg::test {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> config_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(HEADGATE_SOURCE_DIR "/configs")) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path());
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
      {"dense-1.7b-28l-elementwise", 1728.2},  // released checkpoint: FFN 5504
      {"dense-1.7b-28l-headwise", 1720.8 + 28 * 2048 * 16 / 1e6},
      {"dense-1.7b-48l-headwise", 1705.9 + 48 * 1536 * 16 / 1e6},
      // FFN 4608 -> 3968 takes 48 * 3 * 1536 * 640, the gate adds 48 * 1536 * 2048.
      {"dense-1.7b-48l-elementwise", 1705.9 + (48.0 * 1536 * 2048 - 48.0 * 3 * 1536 * 640) / 1e6},
  };
  for (const auto& [name, millions] : expected) {
    const auto plan =
        plan_of(fs::path(HEADGATE_SOURCE_DIR "/configs") / (std::string(name) + ".yaml"));
    EXPECT_NEAR(static_cast<double>(plan.total_parameters()) / 1e6, millions, 0.06) << name;
  }
}

}  // namespace
}  // namespace hg::test
