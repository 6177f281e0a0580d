// sweep.json and sweep.csv of runs whose numbers are given.
#include "train/sweep/sweep_results.h"

#include <gmock/gmock.h>

#include "train/sweep/live_table.h"

namespace hg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

/// Three learning rates of one variant, of which the last diverged.
struct Fixture {
  Sweep sweep{
      .path = "s.yaml", .config = {}, .base = "base.yaml", .folder = {}, .axes = {}, .points = {}};
  SweepResults results;

  Fixture() {
    sweep.config.name = "s";
    sweep.axes = {{.name = "optimizer.lr", .kind = SweepAxis::Kind::key, .values = {}}};
    for (const double lr : {0.001, 0.01, 0.1}) {
      SweepPoint point;
      point.name = fmt::format("lr{}", lr);
      point.variant = "base";
      point.values = {{"optimizer.lr", lr}};
      point.config.optimizer.lr = lr;
      sweep.axes[0].values.push_back({.label = "", .value = lr, .overrides = {}});
      sweep.points.push_back(point);
      PointResult result;
      result.status = PointStatus::finished;
      result.steps = 10;
      result.initial_loss = 5;
      result.final_validation_loss = lr == 0.001 ? 3 : 2;
      result.tokens_per_second = 100 * lr;
      results.push_back(result);
    }
    results[2].status = PointStatus::diverged;
    results[2].reason = "step 4: of 3, above 2";
    results[2].final_validation_loss = PointResult::kNone;
  }
};

TEST(SweepResults, JsonHasPointsAndVariants) {
  const Fixture f;
  const Json json = sweep_json(f.sweep, f.results);
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["axes"].dump(), R"([{"key":"optimizer.lr","values":[0.001,0.01,0.1]}])");
  const Json& point = json["points"][2];
  EXPECT_EQ(point["run"], "runs/lr0.1");
  EXPECT_EQ(point["status"], "diverged");
  EXPECT_TRUE(point["final_validation_loss"].is_null());
  EXPECT_FALSE(point.contains("tokens_per_second")) << "which no repetition would repeat";
  const Json& variant = json["variants"][0];
  EXPECT_EQ(variant["best_lr"], 0.01);
  EXPECT_EQ(variant["best_validation_loss"], 2);
  EXPECT_EQ(variant["largest_stable_lr"], 0.01);
  EXPECT_DOUBLE_EQ(variant["lr_sensitivity"].get<double>(), 10.0 / 3 - 2);  // (3 + 2 + 5) / 3 - 2
  EXPECT_EQ(variant["lr_range"].dump(), "[0.001,0.1]");
  EXPECT_EQ(variant["seeds"].dump(), "[1]");
}

TEST(SweepResults, NothingIsKnownOfASweepThatHasNotBegun) {
  const Fixture f;
  const Json json = sweep_json(f.sweep, SweepResults(3));
  EXPECT_EQ(json["points"][0]["status"], "waiting");
  EXPECT_TRUE(json["variants"][0]["lr_sensitivity"].is_null());
  EXPECT_EQ(json["variants"][0]["grid"].dump(), "[]");
}

TEST(SweepResults, CsvHasALineForEachRun) {
  const Fixture f;
  const std::string csv = sweep_csv(f.sweep, f.results);
  EXPECT_THAT(csv, testing::StartsWith("name,variant,lr,seed,status,reason,steps,initial_loss,"));
  EXPECT_THAT(csv, HasSubstr("\r\nlr0.001,base,0.001,1,finished,,10,5.0,3.0,"));
  EXPECT_THAT(csv, HasSubstr("\r\nlr0.1,base,0.1,1,diverged,\"step 4: of 3, above 2\",10,5.0,,"));
  EXPECT_THAT(csv, HasSubstr(",0.1\r\n")) << "tokens per second";
}

TEST(SweepResults, TheTableHasALineForEachVariant) {
  Fixture f;
  const auto text = [&] { return variants_text(summarize_variants(f.sweep, f.results)); };
  EXPECT_THAT(text(),
              testing::ContainsRegex(
                  "base +0.01 +2.0000 +0.01 +1.3333 +1.3333..1.3333 +3 in 0.001..0.1 +1\n$"));
  f.sweep.points[2].variant = "other";
  EXPECT_THAT(text(), HasSubstr("Variants have ended at different learning rates"));
  EXPECT_THAT(variants_text(summarize_variants(f.sweep, SweepResults(3))),
              testing::ContainsRegex("base +- +- +- +- +- +- +1\n"));
}

TEST(LiveTable, AlignsNamesAndFitsTheTerminal) {
  const std::vector<LiveRow> rows = {
      {.name = "a", .step = 0, .steps = 9, .loss = PointResult::kNone},
      {.name = "long", .step = 3, .steps = 9, .loss = 2.5}};
  EXPECT_THAT(live_lines(rows, 80),
              ElementsAre("  a           0/9 steps", "  long        3/9 steps  loss 2.5000"));
  EXPECT_EQ(live_lines(rows, 10)[1], "  long    ");
}

}  // namespace
}  // namespace hg
