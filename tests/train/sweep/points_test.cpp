// Sweep files as lists of runs, and what is refused before anything starts.
#include "train/sweep/points.h"

#include <gmock/gmock.h>

#include "core/file.h"
#include "support/paths.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class SweepPoints : public testing::Test {
 protected:
  SweepPoints() {
    RunConfig config;
    config.model.vocab_size = 257;
    config.model.hidden_size = 32;
    config.model.num_hidden_layers = 2;
    config.model.num_attention_heads = 4;
    config.model.num_key_value_heads = 2;
    config.model.head_dim = 16;
    config.model.intermediate_size = 64;
    config.data.train = "tokens";
    write_file(folder / "base.yaml", to_yaml(config));
  }
  /// A sweep file with these lines behind its name and base.
  std::string write(const std::string& lines) const {
    const fs::path path = folder / "sweep.yaml";
    write_file(path, fmt::format("name: test\nbase: base.yaml\nfolder: {}\n{}",
                                 (folder / "sweep").string(), lines));
    return path.string();
  }
  Sweep load(const std::string& lines) const { return load_sweep(write(lines)); }
  std::string error(const std::string& lines) const {
    return error_of([&] { load(lines); });
  }
  static std::vector<std::string> names(const Sweep& sweep) {
    std::vector<std::string> result;
    for (const SweepPoint& point : sweep.points) result.push_back(point.name);
    return result;
  }

  TempFolder folder;
};

constexpr char kAxes[] = R"(axes:
  - variants:
      none: {model.attention.gate.position: none}
      headwise: {model: {attention: {gate: {position: sdpa, granularity: headwise}}}}
  - key: optimizer.lr
    values: [1e-3, 1e-2]
)";

TEST_F(SweepPoints, AreTheProductOfTheAxes) {
  const Sweep sweep = load(kAxes);
  EXPECT_THAT(names(sweep),
              ElementsAre("none-lr0.001", "none-lr0.01", "headwise-lr0.001", "headwise-lr0.01"));
  const SweepPoint& last = sweep.points.back();
  EXPECT_EQ(last.variant, "headwise");
  EXPECT_EQ(last.values.dump(), R"({"variant":"headwise","optimizer.lr":0.01})");
  EXPECT_EQ(last.config.optimizer.lr, 0.01);
  EXPECT_EQ(last.config.model.attention.gate.granularity, GateGranularity::headwise);
  EXPECT_EQ(last.config.name, "headwise-lr0.01");
  EXPECT_EQ(last.config.training.threads, 1);
  EXPECT_EQ(sweep.points[0].config.model.attention.gate.position, GatePosition::none);
}

TEST_F(SweepPoints, AVariantIsWhatIsNeitherRateNorSeed) {
  const Sweep sweep = load(
      "axes: [{key: model.hidden_size, values: [32, 64]}, "
      "{key: optimizer.lr, values: [1]}, {key: training.seed, values: [1]}]");
  EXPECT_EQ(sweep.points[1].variant, "hidden_size64");
  EXPECT_EQ(load("axes: [{key: optimizer.lr, values: [1]}]").points[0].variant, "base");
}

TEST_F(SweepPoints, SetIsOfAllAndAxesComeBehindIt) {
  const Sweep sweep =
      load(std::string("set: {training.steps: 7, optimizer: {lr: 5, eps: 1e-9}}\n") + kAxes);
  for (const SweepPoint& point : sweep.points) {
    EXPECT_EQ(point.config.training.steps, 7);
    EXPECT_EQ(point.config.optimizer.eps, 1e-9);
    EXPECT_LE(point.config.optimizer.lr, 1e-2);
  }
}

TEST_F(SweepPoints, NamesFollowAPattern) {
  EXPECT_EQ(names(load(std::string("naming: \"x{lr}_{variant}\"\n") + kAxes))[3], "x0.01_headwise");
  EXPECT_THAT(error(std::string("naming: \"{lr}\"\n") + kAxes),
              HasSubstr("runs 1 and 3 have the same name, '0.001'"));
  EXPECT_THAT(error(std::string("naming: \"{size}\"\n") + kAxes),
              HasSubstr("{size}, which is no axis"));
  EXPECT_THAT(error(std::string("naming: \"../{lr}\"\n") + kAxes), HasSubstr("expected letters"));
}

TEST_F(SweepPoints, ExclusionsLeaveOutWhatTheyMatch) {
  EXPECT_THAT(names(load(std::string("exclude: [{variant: headwise, lr: '>= 0.01'}]\n") + kAxes)),
              ElementsAre("none-lr0.001", "none-lr0.01", "headwise-lr0.001"));
  EXPECT_THAT(names(load(std::string("exclude: [{lr: [1e-3]}, {variant: none}]\n") + kAxes)),
              ElementsAre("headwise-lr0.01"));
  EXPECT_THAT(error(std::string("exclude: [{lr: [1e-3, 1e-2]}]\n") + kAxes),
              HasSubstr("leaves no point"));
  EXPECT_THAT(error(std::string("exclude:\n  - {lr: 5}\n") + kAxes),
              HasSubstr("sweep.yaml:5:6: exclude.lr: 5 is no value of the axis 'optimizer.lr'"));
  EXPECT_THAT(error(std::string("exclude: [{lr: '> 1'}]\n") + kAxes),
              HasSubstr("leaves out no point"));
  EXPECT_THAT(error(std::string("exclude: [{size: 1}]\n") + kAxes),
              HasSubstr("is no axis, expected one of variant, optimizer.lr"));
}

TEST_F(SweepPoints, AMistakeIsNamedWithItsPlace) {
  EXPECT_THAT(
      error("axes:\n  - key: optimizer.lrr\n    values: [1]\n"),
      HasSubstr("sweep.yaml:5:5: optimizer.lrr: unknown key; did you mean 'optimizer.lr'?"));
  EXPECT_THAT(
      error("set:\n  training.step: 1\naxes: [{key: optimizer.lr, values: [1]}]\n"),
      HasSubstr("sweep.yaml:5:3: training.step: unknown key; did you mean 'training.steps'?"));
  EXPECT_THAT(error("axis: 1\n"), HasSubstr("did you mean 'axes'?"));
  EXPECT_THAT(error("axes: []\n"), HasSubstr("axes: found an empty list"));
  EXPECT_THAT(error("axes: [{key: optimizer.lr, values: []}]\n"), HasSubstr("with no values"));
  EXPECT_THAT(
      error("axes: [{key: optimizer.lr, values: [1], log_range: {from: 1, to: 2, count: 3}}]\n"),
      HasSubstr("with values given twice"));
  EXPECT_THAT(error("axes: [{key: optimizer.lr, log_range: {from: 2, to: 1, count: 3}}]\n"),
              HasSubstr("expected 0 < from < to"));
  EXPECT_THAT(error("axes: [{variants: {}}]\n"), HasSubstr("found none, expected bundles"));
  EXPECT_THAT(error("axes: [{key: model.num_key_value_heads, values: [2, 3]}]\n"),
              HasSubstr("the run num_key_value_heads3 has no valid config"));
  EXPECT_THAT(error("jobs: 2\nthreads: 0\naxes: [{key: optimizer.lr, values: [1]}]\n"),
              HasSubstr("would take all cores"));
}

TEST_F(SweepPoints, LayoutsMustFitTheRanks) {
  const std::string axes = "axes: [{key: parallelism.context, values: [1, 2]}]\n";
  EXPECT_EQ(load("ranks: 2\nset: {training.global_batch_size: 2}\n" + axes).points.size(), 2U);
  EXPECT_THAT(error(axes), HasSubstr("the run context2 cannot have ranks = 1"));
  // How many ranks a launcher starts is not known.
  EXPECT_EQ(load("launcher: [mpirun, -n, '2']\n" + axes).points.size(), 2U);
}

TEST_F(SweepPoints, RunsWithoutHeldOutDataAreWarnedOf) {
  const std::string warning = warning_about(load(kAxes));
  EXPECT_THAT(warning, HasSubstr("sweep.yaml: 4 of 4 runs have no data.validation: best"));
  EXPECT_EQ(warning_about(load(std::string("set: {data.validation: held-out}\n") + kAxes)), "");
}

TEST_F(SweepPoints, MultiplesOfTheBestRateComeFromAnotherSweep) {
  write_file(
      folder / "other.json",
      R"({"variants": [{"name": "none", "best_lr": 0.1}, {"name": "headwise", "best_lr": 0.3}]})");
  const std::string axes = R"(axes:
  - variants:
      none: {model.attention.gate.position: none}
      headwise: {}
  - key: optimizer.lr
    times_best: [2, 4]
)";
  const Sweep sweep = load("best_of: " + (folder / "other.json").string() + "\n" + axes);
  EXPECT_THAT(names(sweep),
              ElementsAre("none-lr-x2", "none-lr-x4", "headwise-lr-x2", "headwise-lr-x4"));
  EXPECT_EQ(sweep.points[1].config.optimizer.lr, 0.4);
  EXPECT_EQ(sweep.points[2].values.dump(),
            R"({"variant":"headwise","optimizer.lr/best":2.0,"optimizer.lr":0.6})");
  EXPECT_THAT(error(axes), HasSubstr("times_best needs best_of"));
  write_file(folder / "other.json", R"({"variants": [{"name": "none", "best_lr": null}]})");
  EXPECT_THAT(error("best_of: " + (folder / "other.json").string() + "\n" + axes),
              HasSubstr("has no best learning rate of the variant 'none'"));
}

TEST_F(SweepPoints, AFolderIsOfOneSweep) {
  prepare_folder(load(kAxes));
  prepare_folder(load(std::string("jobs: 2\n") + kAxes));
  const std::string more =
      std::string(kAxes).replace(std::string(kAxes).find("1e-2]"), 5, "1e-2, 1]");
  prepare_folder(load(more));
  EXPECT_TRUE(fs::exists(folder / "sweep" / "configs" / "headwise-lr1.yaml"));
  EXPECT_THAT(error_of([&] { check_folder(load(kAxes)); }),
              HasSubstr("lr1, which " + (folder / "sweep.yaml").string() + " has not"));
  EXPECT_THAT(error_of([&] { check_folder(load("set: {training.steps: 7}\n" + more)); }),
              HasSubstr("training.steps was 1000"));
}

TEST(Sweeps, OfTheProjectAreValid) {
  const Sweep sweep = load_sweep(source_path("configs/sweeps/lr-tiny.yaml"));
  EXPECT_EQ(sweep.points.size(), 48U);
  EXPECT_EQ(sweep.points[17].name, "elementwise-lr0.001-seed2");
  const auto stress =
      load_config<SweepConfig>(source_path("configs/sweeps/stress-tiny.yaml")).value;
  EXPECT_EQ(stress.axes[1].times_best, (std::vector<double>{2, 4}));
  EXPECT_EQ(stress.base, "base.yaml");
}

}  // namespace
}  // namespace hg::test
