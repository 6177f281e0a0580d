#include "train/inspect/attention_svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "core/check.h"
#include "core/random.h"
#include "support/xml.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

/// Random attention with a sink that grows with the layer.
AttentionMaps random_maps(std::int64_t layers, std::int64_t heads, std::int64_t tokens) {
  AttentionMaps maps{.layers = layers, .heads = heads, .tokens = tokens};
  const RandomStream random(3, "attention");
  for (std::int64_t row = 0; row < layers * heads * tokens; ++row) {
    const std::int64_t query = row % tokens, layer = row / (heads * tokens);
    std::vector<float> weights(static_cast<std::size_t>(tokens));
    float sum = 0;
    for (std::int64_t key = 0; key <= query; ++key) {
      const auto index = static_cast<std::uint64_t>(row * tokens + key);
      auto& weight = weights[static_cast<std::size_t>(key)];
      weight = std::exp(2 * random.normal(index) + (key == 0 ? 2 * static_cast<float>(layer) : 0));
      sum += weight;
    }
    for (const float weight : weights) maps.values.push_back(weight / sum);
  }
  for (std::int64_t i = 0; i < tokens; ++i) maps.labels.push_back(fmt::format(" t{}", i));
  return maps;
}

/// The level of each cell as the strokes of the panel that begins at `at` paint it; 0 elsewhere.
std::map<std::pair<int, int>, int> painted_cells(const std::string& svg, std::size_t at) {
  std::map<std::pair<int, int>, int> cells;
  const std::string panel = svg.substr(at, svg.find("</g></g></g>", at) - at);
  const std::regex path("<path class=\"v([0-9]+)\" d=\"([^\"]*)\"/>");
  const std::regex run("M([0-9]+) ([0-9]+)h([0-9]+)");
  for (auto p = std::sregex_iterator(panel.begin(), panel.end(), path); p != std::sregex_iterator();
       ++p) {
    const std::string d = (*p)[2];
    for (auto r = std::sregex_iterator(d.begin(), d.end(), run); r != std::sregex_iterator(); ++r) {
      const int x = std::stoi((*r)[1]), y = std::stoi((*r)[2]), length = std::stoi((*r)[3]);
      for (int i = 0; i < length; ++i) {
        const bool fresh = cells.insert({{y, x + i}, std::stoi((*p)[1])}).second;
        EXPECT_TRUE(fresh) << "painted twice: " << y << ", " << x + i;
      }
    }
  }
  return cells;
}

TEST(AttentionSvg, EveryCellHasTheColorOfItsValue) {
  const AttentionMaps maps = random_maps(2, 3, 20);
  const std::string svg = attention_svg(maps, Panels::heads);
  expect_well_formed(svg);
  for (std::int64_t panel = 0; panel < 6; ++panel) {
    const std::int64_t layer = panel / 3, head = panel % 3;
    const auto title = svg.find(fmt::format(">layer {}, head {}:", layer, head));
    ASSERT_NE(title, std::string::npos);
    auto cells = painted_cells(svg, title);
    const auto map = maps.map(layer, head);
    for (int query = 0; query < 20; ++query) {
      for (int key = 0; key < 20; ++key) {
        const auto at = static_cast<std::size_t>(20 * query + key);
        EXPECT_EQ((cells[{query, key}]), key <= query ? std::lround(63 * map[at]) : 0);
      }
    }
  }
  EXPECT_THAT(svg, HasSubstr(".v0{stroke:#440154}"));
  EXPECT_THAT(svg, HasSubstr(".v63{stroke:#fde725}"));
  EXPECT_THAT(svg, HasSubstr("d=\"M0 0h1v1h1v1"));  // level 0 is below all of them
}

TEST(AttentionSvg, ColorsAreViridis) {
  const std::string svg = attention_svg(random_maps(1, 1, 2), Panels::heads);
  // The published table there; between its ten colours the picture interpolates.
  const auto expect_near = [&](int level, int red, int green, int blue) {
    const auto at = svg.find(fmt::format(".v{}{{stroke:#", level));
    ASSERT_NE(at, std::string::npos);
    const auto hex = std::stoi(svg.substr(svg.find('#', at) + 1, 6), nullptr, 16);
    EXPECT_NEAR(hex >> 16, red, 6);
    EXPECT_NEAR((hex >> 8) & 255, green, 6);
    EXPECT_NEAR(hex & 255, blue, 6);
  };
  expect_near(32, 32, 147, 140);
  expect_near(16, 58, 84, 139);
}

TEST(AttentionSvg, TitlesSayTheFirstTokenShare) {
  AttentionMaps maps{.layers = 1, .heads = 2, .tokens = 2, .labels = {"a", "b"}};
  maps.values = {1, 0, 0.25F, 0.75F, 1, 0, 0.75F, 0.25F};
  maps.layer_numbers = {17};
  EXPECT_EQ(first_token_share(maps.map(0, 0)), 0.625);
  const std::string heads = attention_svg(maps, Panels::heads);
  EXPECT_THAT(heads, HasSubstr("layer 17, head 0: first token 62.5 %"));
  EXPECT_THAT(heads, HasSubstr("layer 17, head 1: first token 87.5 %"));
  const std::string layers = attention_svg(maps, Panels::layers);
  EXPECT_THAT(layers, HasSubstr("layer 17, mean of heads: first token 75.0 %"));
  const auto cells = painted_cells(layers, layers.find(">layer 17"));
  EXPECT_EQ(cells.at({1, 0}), 32);
  EXPECT_EQ(cells.at({1, 1}), 32);
}

TEST(AttentionSvg, SelectedHeadsKeepTheirNumbers) {
  const AttentionMaps maps = random_maps(2, 4, 6);
  const std::vector<std::int64_t> heads = {3, 1};
  const AttentionMaps selected = select_heads(maps, heads);
  for (const std::int64_t layer : {0, 1}) {
    EXPECT_TRUE(std::ranges::equal(selected.map(layer, 0), maps.map(layer, 3)));
    EXPECT_TRUE(std::ranges::equal(selected.map(layer, 1), maps.map(layer, 1)));
  }
  const std::string svg = attention_svg(selected, Panels::heads);
  EXPECT_EQ(count(svg, ", head 3: "), 2U);
  EXPECT_EQ(count(svg, ", head 1: "), 2U);
  EXPECT_EQ(count(svg, ", head "), 4U);
  const std::vector<std::int64_t> wrong = {4};
  EXPECT_THROW(select_heads(maps, wrong), Error);
}

TEST(AttentionSvg, LabelsStandOnBothAxesOnceForAllPanels) {
  AttentionMaps maps = random_maps(3, 4, 5);
  maps.labels = {"<s>", " a\n", "\xe2", "&", "\x01"};
  const std::string svg = attention_svg(maps, Panels::heads);
  expect_well_formed(svg);
  for (const char* label : {">&lt;s&gt;<", ">␣a↵<", ">\\xe2<", ">&amp;<", ">␁<"}) {
    EXPECT_EQ(count(svg, label), 2U) << label;
  }
  EXPECT_EQ(count(svg, "<use href=\"#labels\"/>"), 12U);
}

TEST(AttentionSvg, StaysSmall) {
  const AttentionMaps maps = random_maps(1, 1, 128);
  EXPECT_LT(attention_svg(maps, Panels::heads).size(), 70'000U);
  AttentionMaps sink = random_maps(4, 4, 128);
  std::ranges::fill(sink.values, 0.0F);
  for (std::size_t i = 0; i < sink.values.size(); i += 128) sink.values[i] = 1;
  EXPECT_LT(attention_svg(sink, Panels::heads).size(), 70'000U);
}

TEST(AttentionSvg, RefusesWhatDoesNotFit) {
  const auto refused = [](auto change) {
    AttentionMaps maps = random_maps(2, 2, 4);
    change(maps);
    EXPECT_THROW(attention_svg(maps, Panels::heads), Error);
  };
  refused([](AttentionMaps& maps) { maps.values.pop_back(); });
  refused([](AttentionMaps& maps) { maps.labels.pop_back(); });
  refused([](AttentionMaps& maps) { maps.layer_numbers = {1}; });
  refused([](AttentionMaps& maps) { maps.head_numbers = {1}; });
  refused([](AttentionMaps& maps) { maps.values[4] = std::nanf(""); });
  refused([](AttentionMaps& maps) { maps.values[4] = -0.5F; });
  refused([](AttentionMaps& maps) { maps.values[4] = 1.5F; });
  refused([](AttentionMaps& maps) { maps = {.layers = 1, .heads = 1, .tokens = 0}; });
  refused([](AttentionMaps& maps) { maps = random_maps(1, 1, 257); });
  AttentionMaps hidden = random_maps(1, 1, 4);
  hidden.values[1] = std::nanf("");  // key 1 of query 0: not seen
  EXPECT_NO_THROW(attention_svg(hidden, Panels::heads));
}

}  // namespace
}  // namespace hg::test
