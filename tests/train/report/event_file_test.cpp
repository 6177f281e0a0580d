#include "train/report/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/check.h"
#include "core/file.h"
#include "support/paths.h"
#include "support/temp_folder.h"
#include "train/metrics/metrics.h"
#include "train/metrics/tensorboard.h"

namespace hg::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<NamedValue> loss(double value) { return {{metric::kLoss, value}}; }

std::string error_of(const auto& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(EventFile, ReadsWhatARunWrites) {
  TempFolder folder;
  TensorBoardWriter writer(folder.path(), 0);
  for (const double step : {1.0, 2.0, 3.0}) {
    writer.scalars(0, static_cast<std::int64_t>(step), loss(4 - step / 4));
    writer.text(0, 1, "note", "text");
  }
  const ReportRun run = read_event_run(folder.path());
  EXPECT_THAT(run.of(metric::kLoss).steps, ElementsAre(1, 2, 3));
  EXPECT_THAT(run.of(metric::kLoss).values, ElementsAre(3.75, 3.5, 3.25));
  EXPECT_EQ(run.name, folder.path().filename());
}

TEST(EventFile, ALaterSessionForgetsWhatItRepeats) {
  TempFolder folder;
  TensorBoardWriter first(folder.path(), 0);
  for (const int step : {1, 2, 3}) first.scalars(0, step, loss(step));
  TensorBoardWriter second(folder.path(), 2);
  second.scalars(0, 2, loss(20));
  const Series series = read_event_scalars(folder.path()).series.at(metric::kLoss);
  EXPECT_THAT(series.steps, ElementsAre(1, 2));
  EXPECT_THAT(series.values, ElementsAre(1, 20));
}

// golden/events.out.tfevents.torch is of torch.utils.tensorboard (PyTorch 2.x): add_scalar of
// train/loss 4.5, 4.25, NaN, 3.75 at steps 1 to 4, of grad-norm (new_style) half the step, of
// val/loss 4 at step 4; a histogram and a text.
TEST(EventFile, ReadsPyTorchsSummaryWriter) {
  const ReportRun run =
      read_event_run(source_path("tests/train/report/golden/events.out.tfevents.torch"));
  const Series& series = run.of(metric::kLoss);
  EXPECT_THAT(series.steps, ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(series.values[1], 4.25);
  EXPECT_TRUE(std::isnan(series.values[2]));
  EXPECT_THAT(run.of(metric::kGradNorm).values, ElementsAre(0.5, 1, 1.5, 2));
  EXPECT_THAT(run.of(metric::kValidationLoss).values, ElementsAre(4));
}

TEST(EventFile, ARecordThatEndsWithTheFileIsNamed) {
  TempFolder folder;
  const auto file = folder / "events.out.tfevents.1";
  const std::string record = tensorboard::record(tensorboard::scalars_event(0, 7, loss(2)));
  for (const std::size_t cut : {std::size_t{5}, std::size_t{20}, record.size() - 1}) {
    write_file(file, record + record.substr(0, cut));
    const EventScalars scalars = read_event_scalars(file);
    EXPECT_EQ(scalars.series.at(metric::kLoss).size(), 1u) << cut;
    EXPECT_THAT(scalars.remarks, ElementsAre(HasSubstr("ends within a record"))) << cut;
  }
}

TEST(EventFile, AWrongChecksumIsAnError) {
  TempFolder folder;
  const auto file = folder / "events.out.tfevents.1";
  std::string record = tensorboard::record(tensorboard::scalars_event(0, 7, loss(2)));
  record[20] ^= 1;
  write_file(file, record);
  EXPECT_THAT(error_of([&] { read_event_scalars(file); }), HasSubstr("checksum"));
  write_file(file, "these are no events, but a text");
  EXPECT_THAT(error_of([&] { read_event_scalars(file); }), HasSubstr("at byte 0"));
}

TEST(EventFile, TheLossIsFoundOrAskedFor) {
  TempFolder folder;
  TensorBoardWriter writer(folder.path(), 0);
  writer.scalars(0, 1, std::vector<NamedValue>{{"lm loss", 1}, {"odd", 2}});
  EXPECT_THAT(read_event_run(folder.path()).of(metric::kLoss).values, ElementsAre(1));
  EXPECT_THAT(read_event_run(folder.path(), "odd").of(metric::kLoss).values, ElementsAre(2));
  EXPECT_THAT(error_of([&] { read_event_run(folder.path(), "none"); }),
              HasSubstr("no tag 'none'; there are lm loss, odd"));
  TempFolder other;
  TensorBoardWriter(other.path(), 0).scalars(0, 1, std::vector<NamedValue>{{"a", 1}, {"b", 2}});
  EXPECT_THAT(error_of([&] { read_event_run(other.path()); }), HasSubstr("--loss-tag: a, b"));
}

}  // namespace
}  // namespace hg::test
