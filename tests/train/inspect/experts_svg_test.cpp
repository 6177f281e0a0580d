#include "train/inspect/experts_svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "support/expert_run.h"
#include "support/xml.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int kDead = 49;  // the level behind those of loads

/// The level of each cell, [layer, expert], as strokes paint it.
std::map<std::pair<int, int>, int> painted_cells(const std::string& svg) {
  std::map<std::pair<int, int>, int> cells;
  const std::regex run("M([0-9]+) ([0-9]+)h([0-9]+)");
  // By hand, as a path is long, and std::regex calls itself for each character of a [^"]*.
  const std::string start = "<path class=\"v", data = "\" d=\"";
  for (std::size_t at = svg.find(start); at != std::string::npos; at = svg.find(start, at + 1)) {
    const int level = std::stoi(svg.substr(at + start.size(), 8));
    const std::size_t begin = svg.find(data, at) + data.size();
    const std::string d = svg.substr(begin, svg.find('"', begin) - begin);
    for (auto r = std::sregex_iterator(d.begin(), d.end(), run); r != std::sregex_iterator(); ++r) {
      const int x = std::stoi((*r)[1]), y = std::stoi((*r)[2]), length = std::stoi((*r)[3]);
      for (int i = 0; i < length; ++i)
        EXPECT_TRUE(cells.insert({{y, x + i}, level}).second) << "painted twice";
    }
  }
  return cells;
}

ExpertHistory history_of(std::vector<RoutedLayer> layers) {
  return {.looks = {{.step = 100, .layers = std::move(layers)}}, .shown = 0, .unfinished = {}};
}

TEST(ExpertsSvg, CellsHaveTheColorsOfTheirLoads) {
  // Loads of 1, 2, 1/2; and of 8, nothing, 1/8 and less, 1/64 and less.
  RoutedLayer first{.layer = 1, .experts = {1, 2, 0.5, 8, 0, 0.125, 0.0156}};
  RoutedLayer second{.layer = 5, .experts = {1.001, 40, 0.0099, 0.01, 1, 1, 1}};
  const std::string svg = experts_svg(history_of({first, second}));
  expect_well_formed(svg);
  auto cells = painted_cells(svg);
  ASSERT_EQ(cells.size(), 14U);
  const std::vector<std::vector<int>> levels = {{24, 32, 16, 48, kDead, 0, 0},
                                                {24, 48, kDead, 0, 24, 24, 24}};
  for (int layer = 0; layer < 2; ++layer) {
    for (int expert = 0; expert < 7; ++expert) {
      EXPECT_EQ((cells[{layer, expert}]),
                levels[static_cast<std::size_t>(layer)][static_cast<std::size_t>(expert)])
          << layer << ", " << expert;
    }
  }
  EXPECT_THAT(svg, HasSubstr(".v24{stroke:#f7f7f7}"));
  EXPECT_THAT(svg, HasSubstr(".v49{stroke:#ffd200}"));
  EXPECT_THAT(svg, HasSubstr(">layer 5</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">layer 0</text>"))) << "it is dense";
  EXPECT_THAT(svg, HasSubstr(">40.00</text>")) << "cells of few experts say their loads";
}

TEST(ExpertsSvg, NumbersOfALayerStandBesideIt) {
  const std::string svg =
      experts_svg(history_of({routed_layer(0, {50, 50, 50, 50}), routed_layer(1, {0, 0, 2, 198})}));
  EXPECT_THAT(svg, HasSubstr("dy=\".35em\">1.000</text>"));
  EXPECT_THAT(svg, HasSubstr("dy=\".35em\">3.96</text>"));
  EXPECT_THAT(svg, HasSubstr("class=\"bad\">0.040</text>"));
  EXPECT_THAT(svg, HasSubstr("class=\"bad\">2</text>"));
  EXPECT_EQ(count(svg, "class=\"bad\""), 2U);
}

TEST(ExpertsSvg, LinesGoOverAllLooks) {
  const TempFolder folder;
  const auto run = write_expert_run(folder, three_looks());
  const std::string newest = experts_svg(read_expert_history(run));
  expect_well_formed(newest);
  EXPECT_THAT(newest, HasSubstr("4 experts in 2 layers at step 300"));
  EXPECT_THAT(newest, HasSubstr(">load entropy"));
  EXPECT_THAT(newest, HasSubstr(">largest load"));
  EXPECT_EQ(count(newest, "<path stroke="), 4U);
  EXPECT_EQ(count(newest, "class=\"limit\""), 1U) << "of the entropy, which falls below it";
  const std::string before = experts_svg(read_expert_history(run, 200));
  EXPECT_EQ(count(before, "class=\"limit\""), 3U) << "and the step that is shown";
}

TEST(ExpertsSvg, FitsManyExperts) {
  std::vector<RoutedLayer> layers;
  for (int layer = 0; layer < 48; ++layer) {
    std::vector<std::int64_t> choices;
    for (int e = 0; e < 512; ++e) choices.push_back(100 + (e * 37 + layer * 11) % 60);
    layers.push_back(routed_layer(layer, choices));
  }
  const std::string svg = experts_svg(history_of(std::move(layers)));
  expect_well_formed(svg);
  EXPECT_EQ(painted_cells(svg).size(), 48U * 512U);
  EXPECT_LT(svg.size(), 400'000U);
  EXPECT_THAT(svg, HasSubstr("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1882\""));
  EXPECT_THAT(svg, Not(HasSubstr(">1.00</text>"))) << "no room for loads";
}

}  // namespace
}  // namespace hg::test
