#include "train/metrics/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "core/check.h"
#include "core/file.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

MetricRow train_row(std::int64_t step) {
  const auto x = static_cast<double>(step);
  return {.step = step,
          .tokens = step * 1024,
          .time = 1'700'000'000.25 + x,
          .kind = "train",
          .values = {{metric::kLoss, 11.9 / (1 + x)}, {metric::kGradNorm, 0.1 * x}}};
}

TEST(JsonLines, ALineHasFixedKeysThenValuesThenTexts) {
  const MetricRow row{.step = 22,
                      .tokens = 5632,
                      .time = 1700000000.5,
                      .kind = "train",
                      .values = {{"loss_metrics/global_avg_loss", 2.91027}, {"lr", 3e-4}, {"n", 7}},
                      .texts = {{"note", "a \"word\"\n"}}};
  EXPECT_EQ(json_line(row),
            R"({"step":22,"tokens":5632,"time":1700000000.5,"kind":"train",)"
            R"("loss_metrics/global_avg_loss":2.91027,"lr":0.0003,"n":7.0,"note":"a \"word\"\n"})");
}

TEST(Sinks, ForgetAndGoOn) {
  const TempFolder folder;
  JsonLinesSink lines(folder / "m.jsonl");
  TensorBoardSink board(folder / "board", 0);
  for (const std::int64_t step : {1, 2, 3}) {
    lines.write(train_row(step));
    board.write(train_row(step));
  }
  const auto first = board.writer().path();
  for (MetricsSink* sink : std::initializer_list<MetricsSink*>{&lines, &board}) {
    sink->forget_after(1);
    sink->write(train_row(2));
  }
  EXPECT_EQ(read_file(folder / "m.jsonl"),
            json_line(train_row(1)) + "\n" + json_line(train_row(2)) + "\n");
  EXPECT_GT(board.writer().path(), first);  // a later file, which voids the steps from 2 on
  EXPECT_NE(read_file(board.writer().path()).find(tensorboard::session_start_event(0, 2).substr(9)),
            std::string::npos);
}

TEST(JsonLines, WhatIsNotANumberIsNullAndWhatIsNotUtf8IsReplaced) {
  MetricRow row = train_row(1);
  row.values = {
      {"a", std::numeric_limits<double>::quiet_NaN()}, {"b", kInfinity}, {"c", -kInfinity}};
  row.texts = {{"sample", "\xff!"}};
  const auto json = nlohmann::json::parse(json_line(row));
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(json.at(name).is_null());
  EXPECT_EQ(json.at("sample"), "\xEF\xBF\xBD!");
}

TEST(JsonLines, ValuesKeepEveryBit) {
  MetricRow row = train_row(1);
  row.values = {{"x", 0.1 + 0.2}, {"tiny", 5e-324}, {"huge", 1.7976931348623157e308}};
  const auto json = nlohmann::json::parse(json_line(row));
  for (const auto& [name, value] : row.values) EXPECT_EQ(json.at(name).get<double>(), value);
}

TEST(JsonLines, ANameTwiceIsAnError) {
  MetricRow row = train_row(1);
  row.values.emplace_back("step", 1);
  EXPECT_THROW(json_line(row), Error);
}

TEST(JsonLines, RowsAfterAStepAreDropped) {
  const TempFolder folder;
  const auto path = folder / "metrics.jsonl";
  EXPECT_EQ(drop_rows_after(path, 3), 0);
  std::string expected;
  {
    JsonLinesSink sink(path);
    for (std::int64_t step = 1; step <= 6; ++step) {
      sink.write(train_row(step));
      if (step <= 4) expected += json_line(train_row(step)) + '\n';
    }
    sink.flush();
  }
  AppendFile(path, AppendFile::Open::create_or_append).write(R"({"step":2,"tok)");  // a crash
  EXPECT_EQ(drop_rows_after(path, 4), 3);
  EXPECT_EQ(read_file(path), expected);
  EXPECT_EQ(drop_rows_after(path, 4), 0);
  JsonLinesSink(path).write(train_row(5));
  EXPECT_EQ(read_file(path), expected + json_line(train_row(5)) + '\n');
}

TEST(JsonLines, RowsRewrittenByOtherToolsAreUnderstood) {
  const TempFolder folder;
  write_file(folder / "m.jsonl",
             "{\"step\": 1}\n{\"a\": 0, \"step\": 2}\n{\"step\":3}\n{\"step\":12}\n");
  EXPECT_EQ(drop_rows_after(folder / "m.jsonl", 2), 2);
  EXPECT_EQ(read_file(folder / "m.jsonl"), "{\"step\": 1}\n{\"a\": 0, \"step\": 2}\n");
}

TEST(JsonLines, ADamagedRowIsAnErrorThatNamesItsLine) {
  const TempFolder folder;
  for (const char* damaged :
       {R"({"step":)", R"({"step":2,"lo)", R"({"step":2.5})", R"({"step":})", ""}) {
    write_file(folder / "m.jsonl", fmt::format("{{\"step\":1}}\n{}\n{{\"step\":3}}\n", damaged));
    try {
      drop_rows_after(folder / "m.jsonl", 2);
      ADD_FAILURE() << damaged;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("m.jsonl:2: expected"), std::string::npos)
          << error.what();
    }
  }
}

TEST(Metrics, TheirDocumentationDefinesEveryName) {
  const std::string header = read_file(source_path("src/train/metrics/metrics.h"));
  const std::string defined = read_file(source_path("docs/metrics.md"));
  const std::regex constant("char k\\w+\\[\\] = \"([^\"]+)\";");
  int names = 0;
  for (std::sregex_iterator at(header.begin(), header.end(), constant), end; at != end; ++at) {
    ++names;
    EXPECT_NE(defined.find("`" + at->str(1) + "`"), std::string::npos) << at->str(1);
  }
  EXPECT_GE(names, 25);
}

TEST(Console, TheLineIsTorchtitans) {
  MetricRow row{.step = 22,
                .kind = "train",
                .values = {{metric::kMfu, 0.1588},
                           {metric::kLoss, 2.910274},
                           {"attention/0/gate_mean", 0.4},
                           {metric::kGradNorm, 0.59261},
                           {metric::kTflops, 0.512},
                           {metric::kMemoryGiB, 9.461},
                           {metric::kTokensPerSecond, 7093.6}}};
  EXPECT_EQ(
      console_line(row),
      "step: 22  loss: 2.91027  grad_norm: 0.5926  memory: 9.46GiB  tps: 7,094  tflops: 0.51  "
      "mfu: 0.16%");
  row.values.emplace_back(metric::kMemoryPercent, 64.991);
  EXPECT_NE(console_line(row).find("memory: 9.46GiB(64.99%)  tps"), std::string::npos);
  row.values.emplace_back(metric::kTotalTokensPerSecond, 7093.6);
  EXPECT_EQ(console_line(row).find("of all"), std::string::npos) << "of one rank";
  row.values.back().second = 28374.4;
  EXPECT_NE(console_line(row).find("tps: 7,094 (28,374 of all)  tflops"), std::string::npos);
}

TEST(Console, ALookSaysWhatTheGateDoes) {
  const MetricRow row{.step = 30,
                      .kind = "instruments",
                      .values = {{"gate/mean", 0.1164},
                                 {"gate/below_0.1", 0.606},
                                 {"attention/first_token", 0.0484},
                                 {"activation/max", 94.02}}};
  EXPECT_EQ(console_line(row),
            "look step: 30  gate: 0.116 (60.6% below 0.1)  first_token: 4.8%  max_act: 94.0");
}

TEST(Console, ALookSaysHowExpertsAreLoaded) {
  const MetricRow row{.step = 30,
                      .kind = "instruments",
                      .values = {{"activation/max", 94.02},
                                 {"moe/max_load", 2.417},
                                 {"moe/load_entropy", 0.9314},
                                 {"moe/load_entropy/layers.0", 0.5},
                                 {"moe/dead_experts", 3}}};
  EXPECT_EQ(console_line(row),
            "look step: 30  max_act: 94.0  max_load: 2.42  load_entropy: 0.931  dead_experts: 3");
}

TEST(Console, OnlyWhatTheRowHas) {
  MetricRow row{.step = 5, .kind = "val", .values = {{metric::kValidationLoss, 3}}};
  EXPECT_EQ(console_line(row), "validate step: 5  loss: 3.00000");
  row = {.step = 6, .kind = "event", .texts = {{"checkpoint", "saved step-6"}}};
  EXPECT_EQ(console_line(row), "step: 6  checkpoint: saved step-6");
  row = {.step = 7, .kind = "train", .values = {{"time_metrics/step(s)", 0.5}}};
  std::vector<std::string> lines;
  ConsoleSink sink([&](const std::string& line) { lines.push_back(line); });
  sink.write(row);
  EXPECT_TRUE(lines.empty());
  for (const auto& [tps, text] : {std::pair(999.4, "999"),
                                  {1000.0, "1,000"},
                                  {1234567.0, "1,234,567"},
                                  {-1000.0, "-1,000"},
                                  {-100.0, "-100"},
                                  {kInfinity, "inf"}}) {
    row.values = {{metric::kTokensPerSecond, tps}};
    sink.write(row);
    EXPECT_EQ(lines.back(), std::string("step: 7  tps: ") + text);
  }
}

// A run that went to step 8, lost all after its checkpoint at step 5, and was resumed. With
// HEADGATE_TEST_FILES set, scripts/oracle/check_tensorboard.py reads what this leaves behind.
TEST(Metrics, ResumedRun) {
  const TempFolder folder;
  const auto lines = folder / "metrics.jsonl", events = folder / "tensorboard";
  std::filesystem::remove_all(folder.path());
  std::filesystem::create_directories(folder.path());
  {
    JsonLinesSink json(lines);
    TensorBoardSink board(events, 0);
    for (std::int64_t step = 1; step <= 8; ++step) {
      json.write(train_row(step));
      board.write(train_row(step));
    }
  }
  EXPECT_EQ(drop_rows_after(lines, 5), 3);
  JsonLinesSink json(lines);
  TensorBoardSink board(events, 6);
  for (std::int64_t step = 6; step <= 10; ++step) {
    MetricRow row = train_row(step);
    row.values[0].second = step == 9 ? kInfinity : -1;  // unlike what the first attempt wrote
    if (step == 10) row.texts = {{"sample", "Once upon a time"}};
    json.write(row);
    board.write(row);
  }
  const Histogram histogram{
      .min = 0.1, .max = 0.9, .sum = 1.5, .sum_squares = 1, .limits = {0.5, 1}, .counts = {2, 1}};
  board.writer().histogram(1'700'000'010, 10, "gate/histogram", histogram);
  json.flush();
  board.flush();

  const std::string content = read_file(lines);
  EXPECT_EQ(std::count(content.begin(), content.end(), '\n'), 10);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(events), {}), 2);
}

}  // namespace
}  // namespace hg::test
