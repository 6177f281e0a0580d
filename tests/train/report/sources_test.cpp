#include "train/report/sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/report_runs.h"
#include "train/report/report.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using Status = ReportRun::Status;

std::vector<std::string> names(const std::vector<ReportRun>& runs) {
  std::vector<std::string> list;
  for (const ReportRun& run : runs) list.push_back(run.name);
  return list;
}

TEST(ReportSources, ReadsARunFolder) {
  TempFolder folder;
  const auto path = write_run(folder.path(), "gated", {.gate = "sdpa", .spike = 130});
  const ReportSources sources = read_report_sources({path});
  ASSERT_EQ(sources.runs.size(), 1u);
  const ReportRun& run = sources.runs[0];
  EXPECT_THAT(sources.problems, IsEmpty());
  EXPECT_THAT(run.remarks, IsEmpty());
  EXPECT_EQ(run.status, Status::finished);
  EXPECT_EQ(run.setting("model.attention.gate.position"), "sdpa");
  EXPECT_EQ(run.of(metric::kLoss).size(), 150u);
  EXPECT_EQ(last_of(run.of(metric::kValidationLoss)), 2.1);
  ASSERT_EQ(run.spikes.size(), 1u);
  EXPECT_EQ(run.spikes[0].peak, 130);
  EXPECT_EQ(run.machine["headgate"]["revision"], "abc");
}

TEST(ReportSources, AFolderOfRunFoldersIsAllOfThem) {
  TempFolder folder;
  write_run(folder.path(), "b");
  write_run(folder.path(), "a");
  EXPECT_THAT(names(read_report_sources({folder.path()}).runs), ElementsAre("a", "b"));
}

TEST(ReportSources, RunsThatAreCalledAlikeGetTheirParentsNames) {
  TempFolder folder;
  const auto x = write_run(folder / "x", "run"), y = write_run(folder / "y", "run");
  EXPECT_THAT(names(read_report_sources({x, y, y}).runs),
              ElementsAre("x/run", "y/run (1)", "y/run (2)"));
}

TEST(ReportSources, WhatCannotBeReadIsLeftOutWithTheReason) {
  TempFolder folder;
  const auto good = write_run(folder.path(), "good"), corrupt = write_run(folder.path(), "corrupt");
  const auto empty = write_run(folder.path(), "empty"), config = write_run(folder.path(), "config");
  write_file(corrupt / "metrics.jsonl", "{\"step\":1\n{\"step\":2}\n");
  write_file(empty / "metrics.jsonl", "");
  write_file(config / "config.yaml", "a: [");
  const ReportSources sources = read_report_sources(
      {good, corrupt, empty, config, folder / "missing", folder / "good/config.yaml"});
  EXPECT_THAT(names(sources.runs), ElementsAre("good"));
  const auto reason = [](const char* words) {
    return Field(&ReportProblem::reason, HasSubstr(words));
  };
  EXPECT_THAT(sources.problems,
              ElementsAre(reason("metrics.jsonl:1: is not JSON"), reason("no training step"),
                          reason("config.yaml: is not YAML"), reason("no such file or folder"),
                          reason("config.yaml:1: expected numbers, or names of columns")));
}

TEST(ReportSources, UnfinishedRunsAreReadAndCalledSo) {
  TempFolder folder;
  const auto path = write_run(folder.path(), "run");
  write_file(path / "config.yaml", config_text({.steps = 200}));
  write_file(path / "metrics.jsonl", read_file(path / "metrics.jsonl") + "{\"step\":15");
  const ReportRun run = read_report_sources({path}).runs.at(0);
  EXPECT_EQ(run.status, Status::unfinished);
  EXPECT_THAT(run.remarks, ElementsAre(HasSubstr("is half a line")));
}

/// What the guard writes at `step` of a run, shortened.
std::string stop_line(std::int64_t step) {
  return fmt::format(
      R"({{"time": 1, "step": {}, "kind": "not_finite", "action": "stop", "loss": null}})", step);
}

TEST(ReportSources, ARunThatTheGuardStoppedHasDiverged) {
  TempFolder folder;
  const auto path = write_run(folder.path(), "run");
  write_file(path / "config.yaml", config_text({.steps = 200}));
  const auto read = [&](const std::string& events) {
    write_file(path / "events.jsonl", events);
    return read_report_sources({path}).runs.at(0);
  };
  const ReportRun stopped = read(stop_line(151) + "\n{\"step\":1");
  EXPECT_EQ(stopped.status, Status::diverged);
  EXPECT_THAT(stopped.remarks, ElementsAre("the guard stopped it at step 151: not finite"));
  // Continued from an older checkpoint, it has not come there again; or it went past it.
  EXPECT_EQ(read(stop_line(160) + "\n").status, Status::unfinished);
  EXPECT_EQ(read(stop_line(140) + "\n").status, Status::unfinished);
  std::string skipped = stop_line(151);
  skipped.replace(skipped.find("stop"), 4, "skip_update");
  EXPECT_EQ(read(stop_line(151) + "\n" + skipped + "\n").status, Status::unfinished);
}

TEST(ReportSources, ARunThatWasStoppedBeforeItsFirstStepIsLeftOutAndWhy) {
  TempFolder folder;
  const auto path = write_run(folder.path(), "run", {.steps = 0});
  write_file(path / "events.jsonl", stop_line(1) + "\n");
  EXPECT_THAT(read_report_sources({path}).problems,
              ElementsAre(Field(&ReportProblem::reason, HasSubstr("the guard stopped it before"))));
}

TEST(ReportSources, TablesOfOtherPrograms) {
  TempFolder folder;
  write_file(folder / "theirs.csv", "step,loss\n2,2.5\n1,3\n4,2.25\n");
  const ReportRun run = read_report_sources({folder / "theirs.csv"}).runs.at(0);
  EXPECT_EQ(run.name, "theirs");
  EXPECT_EQ(run.status, Status::unknown);
  EXPECT_THAT(run.of(metric::kLoss).values, ElementsAre(3, 2.5, 2.25));
  EXPECT_THAT(run.remarks, ElementsAre(HasSubstr("not in order"), HasSubstr("1 steps are missing"),
                                       HasSubstr("unknown")));
}

constexpr char kSweep[] = R"({"version": 1, "name": "lr", "points": [
  {"name": "base-lr0.1", "run": "runs/a", "variant": "base", "lr": 0.1, "seed": 1, "status": "finished",
   "reason": null, "initial_loss": 5.5, "final_validation_loss": 2.1},
  {"name": "base-lr1", "run": "runs/b", "variant": "base", "lr": 1, "seed": 1, "status": "diverged",
   "reason": "loss is NaN", "initial_loss": 5.5, "final_validation_loss": null},
  {"name": "base-lr2", "run": "runs/c", "variant": "base", "lr": 2, "status": "waiting"},
  {"name": "base-lr3", "run": "runs/d", "variant": "base", "lr": 3, "status": "failed", "reason": "no disk"}],
  "variants": [{"name": "base", "best_lr": 0.1, "lr_sensitivity": null, "lr_range": [0.1, 3]}]})";

TEST(ReportSources, Sweeps) {
  TempFolder folder;
  write_run(folder / "runs", "a");
  write_run(folder / "runs", "b");
  write_file(folder / "sweep.json", kSweep);
  const ReportSources sources = read_report_sources({folder.path()});
  EXPECT_THAT(names(sources.runs), ElementsAre("base-lr0.1", "base-lr1"));
  EXPECT_EQ(sources.runs[1].status, Status::diverged);
  EXPECT_THAT(sources.runs[1].remarks, ElementsAre("diverged: loss is NaN"));
  EXPECT_EQ(sources.runs[0].sweep->lr, 0.1);
  EXPECT_THAT(sources.problems, ElementsAre(Field(&ReportProblem::reason, "has not begun"),
                                            Field(&ReportProblem::reason, "failed: no disk")));
  ASSERT_EQ(sources.sweeps.size(), 1u);
  EXPECT_EQ(sources.sweeps[0].variants.at(0).best_lr, 0.1);
  EXPECT_FALSE(sources.sweeps[0].variants.at(0).lr_sensitivity);
  EXPECT_THAT(sources.sweeps[0].variants[0].grid, ElementsAre(0.1, 1));
}

TEST(ReportSources, ASweepOfAnotherVersionIsLeftOut) {
  TempFolder folder;
  write_file(folder / "sweep.json", R"({"version": 2, "name": "lr", "points": []})");
  EXPECT_THAT(read_report_sources({folder.path()}).problems,
              ElementsAre(Field(&ReportProblem::reason, HasSubstr("version"))));
}

}  // namespace
}  // namespace hg::test
