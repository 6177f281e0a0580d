// What is read from a run's rows.
#include "train/sweep/point_result.h"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>

#include "core/file.h"
#include "support/temp_folder.h"
#include "support/token_data.h"
#include "train/sweep/metrics_tail.h"

namespace hg::test {
namespace {

using nlohmann::json;

RunConfig config_of(std::int64_t steps) {
  RunConfig config;
  config.model.vocab_size = 1000;
  config.training.steps = steps;
  config.validation.interval = 4;
  return config;
}
json train_row(int step, json loss, double grad_norm = 1) {
  return {{"step", step},
          {"kind", "train"},
          {"loss_metrics/global_avg_loss", loss},
          {"grad_norm", grad_norm},
          {"throughput(tps)", 100.0 * step}};
}
json validation_row(int step, double loss) {
  return {{"step", step}, {"kind", "val"}, {"validation_metrics/loss", loss}};
}

/// A run of six steps, from a loss of 7 down by a half each step.
std::vector<json> rows_of_a_run() {
  std::vector<json> rows = {{{"step", 0}, {"kind", "run"}}, validation_row(0, 7)};
  for (int step = 1; step <= 6; ++step) {
    rows.push_back(train_row(step, 7 - 0.5 * step, step == 3 ? 9 : 1));
    if (step == 4 || step == 6) rows.push_back(validation_row(step, step == 4 ? 4.5 : 4.75));
  }
  rows.push_back({{"step", 6},
                  {"kind", "instruments"},
                  {"attention/first_token", 0.25},
                  {"activation/max", 12.5}});
  return rows;
}

PointTrace trace_of(const std::vector<json>& rows, std::int64_t steps) {
  PointTrace trace(config_of(steps), {});
  for (const json& row : rows) trace.add(row);
  return trace;
}

TEST(PointResult, HasTheNumbersOfTheRun) {
  const PointResult result = trace_of(rows_of_a_run(), 6).result();
  EXPECT_EQ(result.status, PointStatus::finished);
  EXPECT_EQ(result.steps, 6);
  EXPECT_EQ(result.initial_loss, 7);
  EXPECT_EQ(result.final_validation_loss, 4.75);
  EXPECT_EQ(result.best_validation_loss, 4.5);
  EXPECT_EQ(result.final_loss, 4);
  EXPECT_EQ(result.max_grad_norm, 9);
  EXPECT_EQ(result.first_token_share, 0.25);
  EXPECT_EQ(result.max_activation, 12.5);
  EXPECT_TRUE(std::isnan(result.gate_mean)) << "there is no gate";
  EXPECT_TRUE(std::isnan(result.spike_score_olmo2)) << "six steps have no score";
  EXPECT_EQ(result.tokens_per_second, 350) << "of 100, 200, ..., 600";
}

TEST(PointResult, DoesNotTellWhetherTheRunWasInterrupted) {
  std::vector<json> rows = rows_of_a_run();
  rows.insert(rows.begin() + 5, validation_row(3, 1));  // behind a resume at step 3
  EXPECT_EQ(to_json(trace_of(rows, 6).result()), to_json(trace_of(rows_of_a_run(), 6).result()));
}

TEST(PointResult, EndsWhereTheRunDiverged) {
  std::vector<json> rows = rows_of_a_run();
  rows.insert(rows.begin() + 5, train_row(4, nullptr));
  const PointResult result = trace_of(rows, 6).result();
  EXPECT_EQ(result.status, PointStatus::diverged);
  EXPECT_EQ(result.reason, "step 4: the loss or the gradient's norm is not finite");
  EXPECT_EQ(result.steps, 4);
  EXPECT_TRUE(std::isnan(result.final_validation_loss));

  PointTrace stopped = trace_of({train_row(1, 7)}, 6);
  EXPECT_EQ(stopped.result().status, PointStatus::running);
  stopped.stopped_by_guard();
  EXPECT_EQ(stopped.result().reason, "step 2: the guard stopped the run");
}

TEST(PointResult, IsWrittenAndReadAlike) {
  const TempFolder folder;
  const PointResult result = trace_of(rows_of_a_run(), 6).result();
  write_result(folder / "a.json", result);
  const PointResult read = read_result(folder / "a.json");
  EXPECT_EQ(to_json(read), to_json(result));
  EXPECT_EQ(read.tokens_per_second, 350);
  write_file(folder / "b.json", "{\"status\": \"finished\"}");
  EXPECT_THAT(error_of([&] { read_result(folder / "b.json"); }),
              testing::HasSubstr("b.json: not a result of a sweep"));
}

TEST(MetricsTail, ReadsWhatWasAddedAndStartsAnewWhenTheFileIsReplaced) {
  const TempFolder folder;
  const auto path = folder / "metrics.jsonl";
  MetricsTail tail(path, config_of(6), {});
  tail.follow();
  EXPECT_EQ(tail.trace().step(), 0) << "there is no file yet";
  std::ofstream file(path);
  file << train_row(1, 7).dump() << "\n" << train_row(2, 6).dump() << "\n{\"step\":" << std::flush;
  tail.follow();
  EXPECT_EQ(tail.trace().step(), 2);
  file << "3,\"kind\":\"train\",\"loss_metrics/global_avg_loss\":5,\"grad_norm\":1}\n"
       << std::flush;
  tail.follow();
  EXPECT_EQ(tail.trace().step(), 3);
  EXPECT_EQ(tail.trace().loss(), 5);
  write_file(path, train_row(1, 7).dump() + "\n");
  tail.follow();
  EXPECT_EQ(tail.trace().step(), 1);
}

}  // namespace
}  // namespace hg::test
