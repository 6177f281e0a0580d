// Values of axes, their names, and their overrides.
#include "train/sweep/axes.h"

#include <gmock/gmock.h>

#include "train/config.h"

namespace hg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ConfigNode parse(const std::string& yaml) {
  ConfigProblems problems;
  return parse_yaml(yaml, "s.yaml", problems).value();
}

TEST(Axes, ALogRangeHasBothEndsAndEqualRatios) {
  EXPECT_THAT(log_range(1e-4, 1e-1, 4), ElementsAre(1e-4, 1e-3, 1e-2, 1e-1));
  EXPECT_THAT(log_range(1e-3, 10, 9),
              ElementsAre(0.001, 0.00316, 0.01, 0.0316, 0.1, 0.316, 1, 3.16, 10));
  EXPECT_THAT(log_range(3e-4, 3e-1, 2), ElementsAre(3e-4, 3e-1));
}

TEST(Axes, LabelsAreFitForFiles) {
  const auto label = [](const char* yaml) { return label_of(json_of(parse(yaml).children[0])); };
  EXPECT_EQ(label("a: 3e-3"), "0.003");
  EXPECT_EQ(label("a: 1e-5"), "1e-05");
  EXPECT_EQ(label("a: 10"), "10");
  EXPECT_EQ(label("a: true"), "true");
  EXPECT_EQ(label("a: data/x y"), "data_x_y");
}

TEST(Axes, OverridesReadBackToWhatTheFileSays) {
  const auto overrides =
      flatten(parse("{a.b: 3e-3, c: {d: [1, x y], e: '5'}, f: null, g: {h: {i: true}}}"));
  std::vector<std::string> texts;
  for (const Override& one : overrides) texts.push_back(one.text());
  EXPECT_THAT(texts,
              ElementsAre("a.b=3e-3", "c.d=[1, \"x y\"]", "c.e=\"5\"", "f=null", "g.h.i=true"));
}

TEST(Axes, KeysAreCheckedWhereTheyStand) {
  const auto problems_of = [](const std::string& yaml) {
    ConfigProblems problems("s.yaml");
    for (const Override& one : flatten(parse(yaml))) check_override(one, problems);
    return problems.text();
  };
  EXPECT_EQ(problems_of("optimizer.lr: 1\nmodel:\n  num_hidden_layers: 2\n"), "");
  EXPECT_EQ(problems_of("training.steps: 1\noptimizer.lrr: 1\n"),
            "s.yaml:2:1: optimizer.lrr: unknown key; did you mean 'optimizer.lr'?");
  EXPECT_THAT(problems_of("optimizer:\n  lr: fast\n"),
              HasSubstr("s.yaml:2:3: optimizer.lr: found 'fast', expected a number > 0"));
  EXPECT_THAT(problems_of("name: x\n"), HasSubstr("is set by the sweep itself"));
}

TEST(Axes, AKeyHasOneAxis) {
  AxisConfig lr;
  lr.key = parse("key: optimizer.lr").children[0];
  lr.values = parse("a: [1, 2]").children[0].children;
  AxisConfig bundle;
  bundle.variants = parse("a: {big: {optimizer.lr: 3}, small: {}}").children[0];
  ConfigProblems problems("s.yaml");
  const auto axes = make_axes(std::vector{lr, bundle}, problems);
  EXPECT_THAT(problems.text(),
              HasSubstr("optimizer.lr: is set by two axes, 'optimizer.lr' and 'variant'"));
  ASSERT_EQ(axes.size(), 2U);
  EXPECT_EQ(axes[1].values[1].label, "small");
  ConfigProblems twice("s.yaml");
  make_axes(std::vector{lr, lr}, twice);
  EXPECT_THAT(twice.text(), HasSubstr("'optimizer.lr' is an axis twice"));
}

}  // namespace
}  // namespace hg
