#include "train/report/metrics_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/check.h"
#include "core/file.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class MetricsFileTest : public testing::Test {
 protected:
  MetricsFile read(const std::string& text) {
    write_file(folder / "metrics.jsonl", text);
    return read_metrics_file(folder / "metrics.jsonl",
                             [](std::string_view name) { return name != "other"; });
  }
  void expect_error(const std::string& text, const std::string& words) {
    try {
      read(text);
      FAIL() << "no error, expected " << words;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  }
  TempFolder folder;
};

TEST_F(MetricsFileTest, NumbersBecomeSeries) {
  const MetricsFile file = read(
      "{\"step\":1,\"tokens\":10,\"kind\":\"train\",\"loss\":2.5,\"other\":1}\n\n"
      "{\"kind\":\"train\",\"loss\":null,\"tokens\":20,\"step\":2}\r\n"
      "{\"step\":2,\"tokens\":20,\"kind\":\"val\",\"v\":-1e-3,\"list\":[1,{\"a\":2}]}\n");
  EXPECT_THAT(file.series.at("loss").steps, ElementsAre(1, 2));
  EXPECT_EQ(file.series.at("loss").values[0], 2.5);
  EXPECT_TRUE(std::isnan(file.series.at("loss").values[1]));
  EXPECT_THAT(file.series.at("tokens").values, ElementsAre(10, 20));
  EXPECT_THAT(file.series.at("v").values, ElementsAre(-1e-3));
  EXPECT_FALSE(file.series.contains("other"));
  EXPECT_FALSE(file.series.contains("list"));
  EXPECT_FALSE(file.unfinished);
}

TEST_F(MetricsFileTest, EventsAreWhatTheRunSaid) {
  const MetricsFile file = read(
      "{\"step\":5,\"kind\":\"event\",\"loss spike\":\"from \\\"5\\\"\",\"spike/z\":9}\n"
      "{\"step\":6,\"kind\":\"event\",\"checkpoint\":\"step-6\"}\n"
      "{\"step\":6,\"kind\":\"train\",\"note\":\"no event\"}\n");
  EXPECT_THAT(file.events, ElementsAre(Pair(5, "loss spike: from \"5\"")));
}

TEST_F(MetricsFileTest, HalfALineAtTheEndIsPassedOver) {
  const MetricsFile file = read("{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo");
  EXPECT_EQ(file.unfinished, 2);
  EXPECT_EQ(file.series.at("loss").size(), 1u);
}

TEST_F(MetricsFileTest, OtherLinesThatCannotBeReadAreErrors) {
  expect_error("{\"step\":1,\"loss\":2}\n{\"step\":2,\"lo\n{\"step\":3,\"loss\":2}\n",
               "metrics.jsonl:2: is not JSON");
  expect_error("[1]\n", "metrics.jsonl:1: is not JSON");
  expect_error("{\"loss\":2}\n", "metrics.jsonl:1: expected a \"step\"");
}

}  // namespace
}  // namespace hg::test
