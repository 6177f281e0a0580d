#include "train/spikes/loss_series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "core/check.h"
#include "support/temp_folder.h"
#include "train/metrics/metrics.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::int64_t> steps_of(const LossSeries& series) {
  std::vector<std::int64_t> steps;
  for (const auto& point : series.points) steps.push_back(point.step);
  return steps;
}

std::string error_of(auto&& read) {
  try {
    read();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::string table_error(const std::string& text) {
  return error_of([&] { parse_loss_table(text, "t.csv"); });
}

TEST(LossTable, ReadsEverySeparatorWithAndWithoutHeader) {
  for (const char* text : {"1,2.5,0.5\n2,2.25,0.25\n", "1;2.5;0.5\r\n2;2.25;0.25",
                           "step\tloss\tgrad_norm\n1\t2.5\t0.5\n\n2\t2.25\t0.25\n",
                           "\xEF\xBB\xBF\"Step\", \"x\", \"grad_norm\", \"Loss\"\n1,9,0.5,2.5\n"
                           "2,9,0.25,2.25\n",
                           "lr,loss_metrics/global_avg_loss,step,grad_norm\n0,2.5,1,0.5\n"
                           "0,2.25,2.0,0.25\n"}) {
    const LossSeries series = parse_loss_table(text, "t.csv");
    ASSERT_THAT(steps_of(series), ElementsAre(1, 2)) << text;
    EXPECT_EQ(series.points[0].loss, 2.5);
    EXPECT_EQ(series.points[1].loss, 2.25);
    EXPECT_EQ(series.points[0].grad_norm, 0.5);
    EXPECT_EQ(series.points[1].grad_norm, 0.25);
    EXPECT_EQ(series.gaps.count + series.repeated.count + series.unsorted.count, 0);
  }
}

TEST(LossTable, TheGradientNormMayBeMissing) {
  const LossSeries series = parse_loss_table("Wall time,Step,Value\n1.7e9,7,2.5\n", "t.csv");
  EXPECT_THAT(steps_of(series), ElementsAre(7));
  EXPECT_TRUE(std::isnan(series.points[0].grad_norm));
  const LossSeries partly = parse_loss_table("step,loss,grad_norm\n1,2,\n2,2,3\n", "t.csv");
  EXPECT_TRUE(std::isnan(partly.points[0].grad_norm));
  EXPECT_EQ(partly.points[1].grad_norm, 3);
}

TEST(LossTable, OdditiesAreCountedWithTheirLines) {
  const LossSeries series = parse_loss_table(
      "step,loss\n"
      "1,3\n"
      "2,nan\n"
      "3,2.9\n"
      "4,-inf\n"
      "3,2.8\n"   // line 6: a resumed run
      "4,2.7\n"   // line 7
      "9,0\n"     // line 8
      "12,2.5\n"  // line 9
      "11,2.6\n",
      "t.csv");
  EXPECT_THAT(steps_of(series), ElementsAre(1, 2, 3, 4, 9, 11, 12));
  EXPECT_EQ(series.points[2].loss, 2.8);
  EXPECT_EQ(series.points[3].loss, 2.7);
  EXPECT_EQ(series.points[5].loss, 2.6);
  EXPECT_THAT(series.not_finite.first, ElementsAre(3, 5));
  EXPECT_THAT(series.repeated.first, ElementsAre(6, 7));
  EXPECT_THAT(series.unsorted.first, ElementsAre(6, 10));
  EXPECT_THAT(series.not_positive.first, ElementsAre(8));
  EXPECT_THAT(series.gaps.first, ElementsAre(8, 10));
  EXPECT_EQ(series.missing_steps, 5);
}

TEST(LossTable, OnlyTheFirstLinesAreListed) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += fmt::format("{},2\n", 10 * i);
  const LossSeries series = parse_loss_table(text, "t.csv");
  EXPECT_EQ(series.gaps.count, 49);
  EXPECT_EQ(series.gaps.first.size(), LossSeries::Lines::kMost);
  EXPECT_EQ(series.missing_steps, 49 * 9);
}

TEST(LossTable, AMalformedLineIsNamed) {
  EXPECT_THAT(table_error("step,loss\n1,2\n2,abc\n"), HasSubstr("t.csv:3: loss is 'abc'"));
  EXPECT_THAT(table_error("step,loss\n1,2\n2,2.5x\n"), HasSubstr("t.csv:3: loss is '2.5x'"));
  EXPECT_THAT(table_error("step,loss\n1,\n"), HasSubstr("t.csv:2: loss is ''"));
  EXPECT_THAT(table_error("1,2\n2\n"), HasSubstr("t.csv:2: 1 columns, expected 2"));
  EXPECT_THAT(table_error("1,2\n\n2,3,4\n"), HasSubstr("t.csv:3: 3 columns, expected 2"));
  EXPECT_THAT(table_error("1.5,2\n"), HasSubstr("t.csv:1: step is '1.5'"));
  EXPECT_THAT(table_error("1,2\nnan,2\n"), HasSubstr("t.csv:2: step is 'nan'"));
  EXPECT_THAT(table_error("-1,2\n"), HasSubstr("t.csv:1: step is '-1'"));
  EXPECT_THAT(table_error("1e300,2\n"), HasSubstr("t.csv:1: step is '1e300'"));
  EXPECT_THAT(table_error("1\n"), HasSubstr("t.csv:1: 1 columns without a header"));
  EXPECT_THAT(table_error("iteration,loss\n1,2\n"), HasSubstr("found 'iteration,loss'"));
}

TEST(LossJsonLines, ReadsTheRowsThatARunWrites) {
  std::string text;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (std::int64_t step = 1; step <= 3; ++step) {
    MetricRow row{.step = step, .tokens = 100 * step, .time = 1, .kind = "train"};
    row.values = {{metric::kLoss, step == 2 ? nan : 0.1 + 0.2}, {metric::kGradNorm, 1.0 / 3}};
    text += json_line(row) + '\n';
    text +=
        json_line({.step = step, .kind = "val", .values = {{metric::kValidationLoss, 1}}}) + '\n';
  }
  const LossSeries series = parse_loss_json_lines(text, "m.jsonl");
  EXPECT_THAT(steps_of(series), ElementsAre(1, 2, 3));
  EXPECT_EQ(series.points[0].loss, 0.1 + 0.2);
  EXPECT_EQ(series.points[0].grad_norm, 1.0 / 3);
  EXPECT_EQ(series.points[2].tokens, 300);
  EXPECT_TRUE(std::isnan(series.points[1].loss));
  EXPECT_THAT(series.not_finite.first, ElementsAre(3));
}

TEST(LossJsonLines, RowsOfOtherProgramsNeedNoKind) {
  const LossSeries series =
      parse_loss_json_lines("{\"loss\": 2.5, \"step\": 3}\n{\"step\": 4, \"loss\": 2}", "m.jsonl");
  EXPECT_THAT(steps_of(series), ElementsAre(3, 4));
  EXPECT_EQ(series.points[0].tokens, 0);
}

TEST(LossJsonLines, HalfALineAtTheEndIsIgnoredAndCounted) {
  const std::string line = R"({"step":1,"loss":2})";
  const LossSeries series = parse_loss_json_lines(line + "\n" + line.substr(0, 9), "m.jsonl");
  EXPECT_THAT(steps_of(series), ElementsAre(1));
  EXPECT_THAT(series.unfinished.first, ElementsAre(2));
}

TEST(LossJsonLines, AMalformedLineIsNamed) {
  const auto error = [](const char* text) {
    return error_of([&] { parse_loss_json_lines(text, "m.jsonl"); });
  };
  EXPECT_THAT(error("{\"step\":1,\"lo\n{}\n"), HasSubstr("m.jsonl:1: is not JSON"));
  EXPECT_THAT(error("{\"step\":1}\n"), HasSubstr("m.jsonl:1: expected a \"loss_metrics/"));
  EXPECT_THAT(error("{\"loss\":1}\n"), HasSubstr("m.jsonl:1: expected a whole number"));
  EXPECT_THAT(error("{\"step\":1,\"loss\":\"x\"}\n"), HasSubstr("\"loss\" is \"x\""));
  EXPECT_THAT(error("{\"step\":1,\"loss\":1}\n[]\n"), HasSubstr("m.jsonl:2: expected a JSON obj"));
}

TEST(LossSeries, TheContentTellsTheFormat) {
  const TempFolder folder;
  std::ofstream(folder / "metrics.jsonl") << R"({"step":1,"loss":2})" << '\n';
  std::ofstream(folder / "curve.txt") << "1 , 2\n";
  EXPECT_EQ(read_loss_series(folder.path()).points.size(), 1U);
  EXPECT_EQ(read_loss_series(folder / "metrics.jsonl").points.size(), 1U);
  EXPECT_EQ(read_loss_series(folder / "curve.txt").points.size(), 1U);
}

TEST(LossSeries, AFileWithoutDataIsAnError) {
  const TempFolder folder;
  for (const char* text : {"", "\n \n", "step,loss\n", R"({"step":1,"kind":"val"})"}) {
    std::ofstream(folder / "empty") << text;
    EXPECT_THAT(error_of([&] { read_loss_series(folder / "empty"); }),
                HasSubstr("empty: no step with a loss in it"));
  }
  EXPECT_THAT(error_of([&] { read_loss_series(folder / "none"); }), HasSubstr("none"));
}

}  // namespace
}  // namespace hg::test
