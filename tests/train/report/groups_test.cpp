#include "train/report/groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/check.h"
#include "train/metrics/metrics.h"
#include "train/report/verdict.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ReportRun make_run(const std::string& name, const std::string& gate, const std::string& seed,
                   double validation_loss = 2) {
  ReportRun run;
  run.name = name;
  run.path = name;
  run.status = ReportRun::Status::finished;
  run.config = {{"model.attention.gate.position", gate},
                {"training.seed", seed},
                {"training.threads", seed},
                {"model.vocab_size", "257"},
                {"data.tokenizer", "byte"},
                {"data.validation", "here/v"}};
  run.series[metric::kLoss].add(1, 3);
  run.series[metric::kValidationLoss].add(1, validation_loss);
  return run;
}

TEST(Groups, SeedsOfTheSameAreOneGroup) {
  const std::vector<ReportRun> runs = {
      make_run("gated-seed1", "sdpa", "1"), make_run("base-s1", "none", "1"),
      make_run("gated-seed2", "sdpa", "2"), make_run("base-s2", "none", "2")};
  const Grouping grouping = group_runs(runs);
  ASSERT_EQ(grouping.groups.size(), 2u);
  EXPECT_EQ(grouping.groups[0].name, "gated");
  EXPECT_EQ(grouping.groups[1].name, "base");
  EXPECT_THAT(grouping.groups[0].runs, ElementsAre(0, 2));
  EXPECT_THAT(grouping.group_of, ElementsAre(0, 1, 0, 1));
  EXPECT_EQ(grouping.baseline, 1u);
  EXPECT_THAT(grouping.families, ElementsAre("base", "gated"));
}

TEST(Groups, AnotherBaselineMayBeNamed) {
  const std::vector<ReportRun> runs = {make_run("base", "none", "1"),
                                       make_run("gated-1", "sdpa", "1"),
                                       make_run("gated-2", "sdpa", "2")};
  EXPECT_EQ(group_runs(runs, "gated").baseline, 1u);
  EXPECT_EQ(group_runs(runs, "gated-2").baseline, 1u);
  try {
    group_runs(runs, "other");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("there are base, gated"));
  }
}

TEST(Groups, RunsWithoutAConfigStandAlone) {
  ReportRun a = make_run("a", "none", "1"), b = make_run("b", "none", "1");
  a.config.clear();
  b.config.clear();
  EXPECT_EQ(group_runs({a, b}).groups.size(), 2u);
}

TEST(Groups, RatesOfASweepShareTheirVariantsColour) {
  std::vector<ReportRun> runs;
  for (const auto& [name, gate, lr, loss] :
       {std::tuple("base-lr2", "none", 2.0, 3.0), std::tuple("base-lr1", "none", 1.0, 2.0),
        std::tuple("gated-lr1", "sdpa", 1.0, 1.5)}) {
    runs.push_back(make_run(name, gate, "1", loss));
    runs.back().config["optimizer.lr"] = std::to_string(lr);
    runs.back().sweep = {.sweep = "s", .variant = gate, .lr = lr};
  }
  const Grouping grouping = group_runs(runs);
  EXPECT_THAT(grouping.families, ElementsAre("none", "sdpa"));
  EXPECT_EQ(grouping.baseline, 1u);  // the better of the two without a gate
  EXPECT_EQ(grouping.groups[0].shade, 1);
  EXPECT_EQ(grouping.groups[1].shade, 0);
}

TEST(Groups, IncompatibleRunsAreTakenOutWithTheReason) {
  std::vector<ReportRun> runs = {make_run("a", "none", "1"), make_run("b", "none", "1"),
                                 make_run("c", "none", "1"), make_run("d", "none", "1")};
  runs[1].config["model.vocab_size"] = "4096";
  runs[2].config["data.validation"] = "elsewhere/v";  // the same file by its name
  runs[3].config.clear();
  const auto problems = remove_incompatible(runs, "a");
  EXPECT_EQ(runs.size(), 3u);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].what, "b");
  EXPECT_THAT(problems[0].reason, HasSubstr("model.vocab_size is 4096, there it is 257"));
}

std::vector<GroupVerdict> judge(const std::vector<ReportRun>& runs) {
  std::vector<RunNumbers> numbers;
  for (const ReportRun& run : runs) numbers.push_back(numbers_of(run));
  return judge_groups(runs, numbers, group_runs(runs));
}

TEST(Verdict, ComparesWithTheBaseline) {
  const auto verdicts =
      judge({make_run("base-1", "none", "1", 2.0), make_run("base-2", "none", "2", 2.1),
             make_run("gated-1", "sdpa", "1", 1.0), make_run("gated-2", "sdpa", "2", 1.1)});
  EXPECT_EQ(verdicts[0].words, "baseline");
  EXPECT_EQ(verdicts[1].words, "lower");
  EXPECT_NEAR(verdicts[1].difference.value, -1, 1e-12);
  EXPECT_TRUE(verdicts[1].on_validation);
}

TEST(Verdict, SaysWhyNothingCanBeSaid) {
  std::vector<ReportRun> runs = {make_run("base", "none", "1"), make_run("one", "sdpa", "1", 1.9),
                                 make_run("gone", "key", "1"), make_run("long", "value", "1")};
  runs[2].status = ReportRun::Status::diverged;
  runs[3].series[metric::kLoss].add(2, 3);
  const auto verdicts = judge(runs);
  EXPECT_EQ(verdicts[1].words, "lower; too few seeds to tell");
  EXPECT_EQ(verdicts[2].words, "diverged");
  EXPECT_EQ(verdicts[2].diverged, 1u);
  EXPECT_EQ(verdicts[3].words, "of another length");
}

TEST(Verdict, ValidationLossesOfOtherHeldOutSetsAreNotCompared) {
  std::vector<ReportRun> runs = {make_run("base", "none", "1"), make_run("small", "sdpa", "1", 1.5),
                                 make_run("same", "key", "1", 1.75), make_run("old", "value", "1")};
  runs[0].series[kValidationTargets].add(1, 25600);
  runs[1].series[kValidationTargets].add(1, 2560);
  runs[2].series[kValidationTargets].add(1, 25600);
  runs[1].series[metric::kLoss].values = {2.5};
  const auto verdicts = judge(runs);
  EXPECT_FALSE(verdicts[1].on_validation);
  EXPECT_EQ(verdicts[1].difference.value, -0.5);
  EXPECT_EQ(
      verdicts[1].left_out,
      "validation losses are not compared, but training losses: tokens validated on are 2560, "
      "there 25600");
  EXPECT_TRUE(verdicts[2].on_validation);
  EXPECT_EQ(verdicts[2].difference.value, -0.25);
  EXPECT_EQ(verdicts[2].left_out, "");
  EXPECT_TRUE(verdicts[3].on_validation) << "how many it was validated on is not known";
}

TEST(Verdict, SeedsThatWereValidatedOnOtherSetsAreNotAveragedToCompare) {
  std::vector<ReportRun> runs = {make_run("base", "none", "1"), make_run("base-2", "none", "2"),
                                 make_run("gated", "sdpa", "1")};
  for (std::size_t r = 0; r < 3; ++r)
    runs[r].series[kValidationTargets].add(1, r == 1 ? 2560 : 25600);
  const auto verdicts = judge(runs);
  EXPECT_FALSE(verdicts[1].on_validation);
  EXPECT_THAT(verdicts[1].left_out, HasSubstr("are 25600, there 2560 or 25600"));
}

TEST(Verdict, LossesOfSequencesOfOtherLengthsAreNotCompared) {
  std::vector<ReportRun> runs = {make_run("base", "none", "1"), make_run("long", "sdpa", "1", 1.5),
                                 make_run("table", "key", "1", 1.5)};
  runs[0].config["training.seq_len"] = "128";
  runs[1].config["training.seq_len"] = "256";
  runs[2].config.clear();
  const auto verdicts = judge(runs);
  EXPECT_EQ(verdicts[1].words, "of other sequences");
  EXPECT_TRUE(std::isnan(verdicts[1].difference.value));
  EXPECT_EQ(verdicts[1].left_out, "losses are not compared: training.seq_len is 256, there 128");
  EXPECT_EQ(verdicts[2].difference.value, -0.5) << "nothing is known of its sequences";
}

TEST(RunNumbers, TheLossBeforeTrainingIsNoResult) {
  ReportRun run = make_run("base", "none", "1");
  Series& validation = run.series[metric::kValidationLoss];
  validation = {.steps = {0}, .values = {5}};
  EXPECT_TRUE(std::isnan(numbers_of(run).validation_loss));
  EXPECT_TRUE(std::isnan(numbers_of(run).best_validation_loss));
  EXPECT_EQ(numbers_of(run).initial_validation_loss, 5);
  EXPECT_EQ(numbers_of(run).loss(), 3) << "of training";
  validation.add(1, 4);
  EXPECT_EQ(numbers_of(run).validation_loss, 4);
  EXPECT_EQ(numbers_of(run).loss(), 4);
}

TEST(Verdict, FallsBackToTheTrainingLoss) {
  std::vector<ReportRun> runs = {make_run("base", "none", "1"), make_run("theirs", "sdpa", "1")};
  runs[1].series.erase(metric::kValidationLoss);
  runs[1].series[metric::kLoss].values = {2.5};
  const auto verdicts = judge(runs);
  EXPECT_FALSE(verdicts[1].on_validation);
  EXPECT_EQ(verdicts[1].difference.value, -0.5);
  EXPECT_EQ(verdicts[1].loss.mean, 2.5);
  EXPECT_EQ(verdicts[1].words, "lower; too few seeds to tell (training loss)");
}

}  // namespace
}  // namespace hg::test
