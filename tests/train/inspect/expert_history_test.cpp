#include "train/inspect/expert_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/expert_run.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ExpertHistoryTest : public testing::Test {
 protected:
  ExpertHistory read(const std::string& lines, std::optional<std::int64_t> step = {}) const {
    return read_expert_history(write_expert_run(folder, lines), step);
  }
  std::string error(const std::string& lines, std::optional<std::int64_t> step = {}) const {
    return error_of([&] { read(lines, step); });
  }
  TempFolder folder;
};

TEST_F(ExpertHistoryTest, NumbersAreThoseThatWereWritten) {
  const ExpertHistory history = read(three_looks());
  ASSERT_EQ(history.looks.size(), 3U);
  EXPECT_FALSE(history.unfinished);
  const ExpertLook& look = history.look();
  EXPECT_EQ(look.step, 300);
  ASSERT_EQ(look.layers.size(), 2U);
  EXPECT_EQ(look.layers[0].layer, 1);
  const RoutedLayer expected = routed_layer(2, {10, 0, 1, 189});
  EXPECT_EQ(look.layers[1].layer, 2);
  EXPECT_EQ(look.layers[1].experts, expected.experts);
  std::vector<double> numbers, written;
  const auto into = [](std::vector<double>& to) {
    return [&](const char*, auto value, auto...) { to.push_back(static_cast<double>(value)); };
  };
  for_each_number(look.layers[1].load, into(numbers));
  for_each_number(expected.load, into(written));
  EXPECT_EQ(numbers, written);
  EXPECT_EQ(look.layers[1].load.dead_experts, 1);
}

TEST_F(ExpertHistoryTest, AStepCanBeChosen) {
  const ExpertHistory history = read(three_looks(), 200);
  EXPECT_EQ(history.look().step, 200);
  EXPECT_THAT(history.look().layers[1].experts, ElementsAre(0.8, 0.8, 0.4, 2));
  EXPECT_EQ(history.looks[2].layers[1].load.max_load, 3.78);
  EXPECT_THAT(error(three_looks(), 250),
              HasSubstr("instruments.jsonl: no look at step 250; there are steps 100 to 300 every "
                        "100"));
}

TEST_F(ExpertHistoryTest, StepsAreListedInShort) {
  const auto list = [](const std::vector<std::int64_t>& steps) {
    std::vector<ExpertLook> looks;
    for (const std::int64_t step : steps) looks.push_back({.step = step});
    return list_steps(looks);
  };
  EXPECT_EQ(list({5}), "5");
  EXPECT_EQ(list({5, 10}), "5, 10");
  EXPECT_EQ(list({5, 10, 15}), "5 to 15 every 5");
  EXPECT_EQ(list({10, 20, 30, 35, 40, 45, 100}), "10 to 30 every 10, 35 to 45 every 5, 100");
}

TEST_F(ExpertHistoryTest, HalfALineAtTheEndIsPassedOver) {
  const std::string torn = expert_line(400, {routed_layer(1, {1, 1})}).substr(0, 50);
  const ExpertHistory history = read(three_looks() + torn);
  EXPECT_EQ(history.look().step, 300);
  EXPECT_EQ(history.unfinished, 4);
  EXPECT_THAT(error(three_looks() + torn, 400), HasSubstr("no look at step 400"));
  EXPECT_THAT(error(torn), HasSubstr("no look at layers of experts in it, only half a line"));
}

TEST_F(ExpertHistoryTest, WhatIsMissingIsSaid) {
  EXPECT_THAT(error_of([&] { read_expert_history(folder / "none"); }),
              HasSubstr("none: there is no such run folder"));
  EXPECT_THAT(error_of([&] { read_expert_history(folder.path()); }),
              HasSubstr("instruments.jsonl: there is no such file"));
  EXPECT_THAT(error(""), HasSubstr("no look at layers of experts"));
  EXPECT_THAT(error(R"({"step":100,"layers":[{"attention":{}}]})"
                    "\n"),
              HasSubstr("no look at layers of experts"));
}

TEST_F(ExpertHistoryTest, DamageIsAnErrorThatNamesItsLine) {
  const auto damaged = [&](const std::string& from, const std::string& to) {
    std::string lines = three_looks();
    const auto line = lines.find("{\"step\":200");
    lines.replace(lines.find(from, line), from.size(), to);
    return error(lines);
  };
  EXPECT_THAT(damaged("{\"step\":200", "\"step\":200"), HasSubstr(".jsonl:2: is not JSON"));
  EXPECT_THAT(damaged("\"step\":200", "\"step\":null"),
              HasSubstr(".jsonl:2: step is null, expected an integer"));
  EXPECT_THAT(damaged("\"step\":200", "\"step\":100"), HasSubstr(":2: step 100 behind step 100"));
  EXPECT_THAT(damaged("\"max_load\":", "\"load_max\":"),
              HasSubstr(":2: layers[1].experts.max_load is null, expected a number"));
  EXPECT_THAT(damaged("\"dead_experts\":0", "\"dead_experts\":0.5"),
              HasSubstr(":2: layers[1].experts.dead_experts is 0.5, expected an integer"));
  EXPECT_THAT(damaged("\"load\":[1.0,", "\"load\":["), HasSubstr(":2: layer 1 has 3 experts"));
  EXPECT_THAT(damaged("\"load\":[1.0,", "\"load\":[null,"),
              HasSubstr(":2: layers[1].experts.load[0] is null, expected a number"));
  EXPECT_THAT(damaged("\"load\":[1.0,", "\"load\":[-1.0,"), HasSubstr("expected a load"));
  EXPECT_THAT(damaged("\"load\":[1.0,1.0,1.0,1.0]", "\"load\":[]"),
              HasSubstr("expected an array with a load of each expert"));
  EXPECT_THAT(damaged("\"layers\":[", "\"layers\":[{},"), HasSubstr(":2: has 2 layers"));
  EXPECT_THAT(error("[1]\n"), HasSubstr(".jsonl:1: "));
}

}  // namespace
}  // namespace hg::test
