#include "train/inspect/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/xml.h"

namespace hg::svg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(SvgColor, IsLinearBetweenThoseOfTheRamp) {
  constexpr Color kRamp[] = {{0, 0, 0}, {100, 200, 50}, {200, 0, 255}};
  EXPECT_EQ(color(kRamp, 0), "#000000");
  EXPECT_EQ(color(kRamp, 0.25), "#326419");
  EXPECT_EQ(color(kRamp, 0.5), "#64c832");
  EXPECT_EQ(color(kRamp, 1), "#c800ff");
  EXPECT_EQ(color(kRamp, -3), "#000000");
  EXPECT_EQ(color(kRamp, 7), "#c800ff");
  EXPECT_EQ(color(kBlueRed, 0.5), "#f7f7f7") << "white is in the middle";
}

TEST(SvgLevels, HaveAClassEach) {
  constexpr Color kRamp[] = {{0, 0, 0}, {20, 20, 20}};
  EXPECT_EQ(level_styles(kRamp, 3), ".v0{stroke:#000000}.v1{stroke:#0a0a0a}.v2{stroke:#141414}");
}

TEST(SvgLevels, CellsOfOneLevelAreOneStroke) {
  const std::vector<std::vector<int>> cells = {{1, 1, 0, 1}, {2, 2}, {}};
  const auto paths = level_paths(
      4, 3, [&](std::int64_t y) { return std::ssize(cells[static_cast<std::size_t>(y)]); },
      [&](std::int64_t x, std::int64_t y) {
        return cells[static_cast<std::size_t>(y)][static_cast<std::size_t>(x)];
      });
  EXPECT_THAT(paths, ElementsAre("M2 0h1", "M0 0h2M3 0h1", "M0 1h2", ""));
}

TEST(Svg, FrameAndColorBarAreWellFormed) {
  std::string svg;
  begin(svg, 300, 200, ".a{fill:none}");
  append_color_bar(svg, "bar", kViridis, 120);
  end(svg);
  hg::test::expect_well_formed(svg);
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 300 200\""));
  EXPECT_EQ(hg::test::count(svg, "<stop "), 10U);
  EXPECT_THAT(svg, HasSubstr("fill=\"url(#bar)\""));
}

}  // namespace
}  // namespace hg::svg::test
