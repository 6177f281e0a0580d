#include "train/inspect/svg_chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/xml.h"

namespace hg::svg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Chart two_lines() {
  return {.title = "load",
          .width = 100,
          .height = 50,
          .steps = {10, 20, 60},
          .lines = {{.name = "low", .color = "#111", .values = {0.5, 0, 0.25}},
                    {.name = "high", .color = "#222", .values = {1, 0.5, 0.75}}},
          .axis = round_axis(0, 1)};
}

std::string drawn(const Chart& chart) {
  std::string svg = "<svg>";
  append_chart(svg, chart);
  svg += "</svg>";
  hg::test::expect_well_formed(svg);
  return svg;
}

TEST(SvgAxis, HasRoundTicksAroundItsValues) {
  const Axis axis = round_axis(0.93, 1);
  EXPECT_NEAR(axis.low, 0.92, 1e-12);
  EXPECT_NEAR(axis.high, 1, 1e-12);
  ASSERT_EQ(axis.ticks.size(), 5U);
  EXPECT_NEAR(axis.ticks[1], 0.94, 1e-12);
  EXPECT_NEAR(round_axis(0.2, 1).low, 0.2, 1e-12) << "not 0: 0.2 is round itself";
  EXPECT_LT(round_axis(1, 1).low, round_axis(1, 1).high);
}

TEST(SvgAxis, OctavesReachTheLargestValue) {
  EXPECT_THAT(octave_axis(1).ticks, ElementsAre(1, 2));
  EXPECT_THAT(octave_axis(8).ticks, ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(octave_axis(8.1).ticks, ElementsAre(1, 2, 4, 8, 16));
}

TEST(SvgChart, PointsAreWhereTheirValuesAre) {
  const std::string svg = drawn(two_lines());
  EXPECT_THAT(svg, HasSubstr("stroke=\"#111\" d=\"M0.0 25.0L20.0 50.0L100.0 37.5\""));
  EXPECT_THAT(svg, HasSubstr("stroke=\"#222\" d=\"M0.0 0.0L20.0 25.0L100.0 12.5\""));
  Chart octaves = two_lines();
  octaves.axis = octave_axis(4);
  octaves.lines[0].values = {1, 2, 4};
  EXPECT_THAT(drawn(octaves), HasSubstr("d=\"M0.0 50.0L20.0 25.0L100.0 0.0\""));
}

TEST(SvgChart, OneStepHasPoints) {
  Chart chart = two_lines();
  chart.steps = {7};
  for (Line& line : chart.lines) line.values = {0.5};
  const std::string svg = drawn(chart);
  EXPECT_EQ(hg::test::count(svg, "<circle cx=\"50.0\" cy=\"25.0\""), 2U);
}

TEST(SvgChart, NamesStandWhereThereIsRoom) {
  Chart chart = two_lines();
  EXPECT_THAT(drawn(chart), HasSubstr(">low</text>"));
  EXPECT_THAT(drawn(chart), HasSubstr(">high</text>"));
  chart.lines[0].values.back() = 0.7;  // 2.5 pixels from the other
  EXPECT_THAT(drawn(chart), Not(HasSubstr(">low</text>")));
  chart.named = Extreme::least;
  EXPECT_THAT(drawn(chart), HasSubstr(">low</text>"));
  EXPECT_THAT(drawn(chart), Not(HasSubstr(">high</text>")));
}

TEST(SvgChart, LimitAndMarkAreDashed) {
  Chart chart = two_lines();
  chart.limit = 0.5;
  chart.marked = 20;
  const std::string svg = drawn(chart);
  EXPECT_THAT(svg, HasSubstr("class=\"limit\" d=\"M0 25.0h100.0\""));
  EXPECT_THAT(svg, HasSubstr("class=\"limit\" d=\"M20.0 0v50.0\""));
  chart.limit = 2;
  chart.marked = {};
  EXPECT_EQ(hg::test::count(drawn(chart), "class=\"limit\""), 0U);
}

}  // namespace
}  // namespace hg::svg::test
