#include "core/config.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/config_example.h"

namespace hg {
namespace {

using example::Decay;
using example::OptimizerConfig;
using example::RunConfig;
using Overrides = std::vector<std::string>;

RunConfig parse(const std::string& yaml, const Overrides& overrides = {}) {
  return parse_config<RunConfig>(yaml, "c.yaml", overrides).value;
}

/// The message of the error, or "no error".
std::string problems_of(const std::string& yaml, const Overrides& overrides = {}) {
  try {
    parse(yaml, overrides);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

/// What is wrong with `line` in a config that is otherwise good.
std::string problems_with(const std::string& line) { return problems_of("name: x\n" + line); }

TEST(Config, ReadsEveryType) {
  const RunConfig run = parse(R"(
name: a run   # a comment
optimizer: {lr: 1e-3, min_lr: 1e-4, warmup_steps: 1e5, decay: wsd, eps: 1.0e-6, no_decay: []}
data:
  sources:
    - path: a.bin
    - {path: b.bin, weight: 0.25}
  lengths: [8, 16.0]
  head_dim: -3
  seed: 18446744073709551615
  shuffle: false
)");
  EXPECT_EQ(run.name, "a run");
  EXPECT_EQ(run.optimizer.lr, 1e-3);
  EXPECT_EQ(run.optimizer.min_lr, 1e-4);
  EXPECT_EQ(run.optimizer.warmup_steps, 100000);
  EXPECT_EQ(run.optimizer.decay, Decay::wsd);
  EXPECT_EQ(run.optimizer.eps, 1e-6F);
  EXPECT_TRUE(run.optimizer.no_decay.empty());
  ASSERT_EQ(run.data.sources.size(), 2U);
  EXPECT_EQ(run.data.sources[0].weight, 1);
  EXPECT_EQ(run.data.sources[1].path, "b.bin");
  EXPECT_EQ(run.data.sources[1].weight, 0.25);
  EXPECT_EQ(run.data.lengths, (std::vector<std::int64_t>{8, 16}));
  EXPECT_EQ(run.data.head_dim, -3);
  EXPECT_EQ(run.data.seed, 18446744073709551615ULL);
  EXPECT_FALSE(run.data.shuffle);
}

TEST(Config, KeysNotGivenKeepTheirDefaults) {
  const RunConfig run = parse("name: x");
  EXPECT_EQ(run.optimizer.lr, 3e-4);
  EXPECT_EQ(run.optimizer.min_lr, std::nullopt);
  EXPECT_EQ(run.optimizer.no_decay, (std::vector<std::string>{"norm", "a, b"}));
}

TEST(Config, OverridesComeLast) {
  const RunConfig run =
      parse("optimizer: {lr: 1, min_lr: 1}\ndata: {sources: [{path: a}]}",
            {"optimizer.lr=2", "optimizer.min_lr=null", "optimizer.lr=3", "name=a=b",
             "optimizer.no_decay=[x, 'y z']", "data.sources=[{path: c}, {path: d}]"});
  EXPECT_EQ(run.optimizer.lr, 3);
  EXPECT_EQ(run.optimizer.min_lr, std::nullopt);
  EXPECT_EQ(run.name, "a=b");
  EXPECT_EQ(run.optimizer.no_decay, (std::vector<std::string>{"x", "y z"}));
  ASSERT_EQ(run.data.sources.size(), 2U);
  EXPECT_EQ(run.data.sources[1].path, "d");
}

TEST(Config, SaysWhatWasFoundAndWhatWasExpected) {
  const auto optimizer = [](const std::string& key) {
    return problems_with("optimizer:\n  " + key);
  };
  EXPECT_EQ(optimizer("lr: fast"), "c.yaml:3:3: optimizer.lr: found 'fast', expected a number > 0");
  EXPECT_EQ(optimizer("lr: -1"), "c.yaml:3:3: optimizer.lr: found '-1', expected a number > 0");
  EXPECT_EQ(optimizer("lr: '5'"), "c.yaml:3:3: optimizer.lr: found \"5\", expected a number > 0");
  EXPECT_EQ(optimizer("lr: nan"), "c.yaml:3:3: optimizer.lr: found 'nan', expected a number > 0");
  EXPECT_EQ(optimizer("lr: inf"), "c.yaml:3:3: optimizer.lr: found 'inf', expected a number > 0");
  EXPECT_EQ(optimizer("lr: .inf"), "c.yaml:3:3: optimizer.lr: found '.inf', expected a number > 0");
  EXPECT_EQ(optimizer("lr: 1e999"),
            "c.yaml:3:3: optimizer.lr: found '1e999', expected a number > 0");
  EXPECT_EQ(optimizer("lr:"), "c.yaml:3:3: optimizer.lr: found null, expected a number > 0");
  EXPECT_EQ(optimizer("lr: [1]"), "c.yaml:3:3: optimizer.lr: found a list, expected a number > 0");
  EXPECT_EQ(optimizer("lr: {a: 1}"),
            "c.yaml:3:3: optimizer.lr: found a section, expected a number > 0");
  EXPECT_EQ(optimizer("min_lr: x"),
            "c.yaml:3:3: optimizer.min_lr: found 'x', expected a number >= 0");
  EXPECT_EQ(optimizer("eps: 1"),
            "c.yaml:3:3: optimizer.eps: found '1', expected a number > 0 and < 1");
  EXPECT_EQ(
      optimizer("decay: Cosine"),
      "c.yaml:3:3: optimizer.decay: found 'Cosine', expected one of cosine, linear, wsd, off");
  EXPECT_EQ(optimizer("no_decay: norm"),
            "c.yaml:3:3: optimizer.no_decay: found 'norm', expected a list");
  EXPECT_EQ(optimizer("no_decay: [a, ~]"),
            "c.yaml:3:17: optimizer.no_decay[1]: found null, expected a string");
  for (const std::string_view text : {"1.5", "1_000", "0x10", "+5", "5k", "1e-1", "true", "''"}) {
    const std::string found = text == "''" ? "\"\"" : fmt::format("'{}'", text);
    EXPECT_EQ(optimizer(fmt::format("warmup_steps: {}", text)),
              fmt::format("c.yaml:3:3: optimizer.warmup_steps: found {}, expected an integer >= 0",
                          found));
  }
  EXPECT_EQ(optimizer("warmup_steps: 1e30"),
            "c.yaml:3:3: optimizer.warmup_steps: found '1e30', expected an integer from "
            "-9223372036854775808 to 9223372036854775807 >= 0");
  EXPECT_EQ(problems_of("name: ''"),
            "c.yaml:1:1: name: found \"\", expected a string of length > 0");
}

TEST(Config, ChecksIntegersBooleansAndListsOfNumbers) {
  const auto data = [](const std::string& key) { return problems_with("data:\n  " + key); };
  EXPECT_EQ(
      data("head_dim: 3e9"),
      "c.yaml:3:3: data.head_dim: found '3e9', expected an integer from -2147483648 to 2147483647");
  EXPECT_EQ(
      data("seed: -1"),
      "c.yaml:3:3: data.seed: found '-1', expected an integer from 0 to 18446744073709551615");
  for (const std::string_view text : {"yes", "True", "1", "on"}) {
    EXPECT_EQ(data(fmt::format("shuffle: {}", text)),
              fmt::format("c.yaml:3:3: data.shuffle: found '{}', expected true or false", text));
  }
  EXPECT_EQ(data("lengths: []"),
            "c.yaml:3:3: data.lengths: found an empty list, expected a list of length > 0");
  EXPECT_EQ(
      data("lengths: [8, 12, 8192]"),
      "c.yaml:3:16: data.lengths[1]: found '12', expected an integer divisible by 8 and <= 4096\n"
      "c.yaml:3:20: data.lengths[2]: found '8192', expected an integer divisible by 8 and <= 4096");
}

TEST(Config, ChecksListsOfSections) {
  EXPECT_EQ(
      problems_with("data:\n  sources:\n  - {path: a}\n  - wieght: 2\n  - 5\n"),
      "c.yaml:3:3: data.sources[1].path: missing, but required (token file)\n"
      "c.yaml:5:5: data.sources[1].wieght: unknown key; did you mean 'data.sources[1].weight'?\n"
      "c.yaml:6:5: data.sources[2]: found '5', expected a section");
  EXPECT_EQ(problems_with("data:\n  sources:\n  - path: /\n    weight: 2\n"),
            "c.yaml:5:5: data.sources[0].weight: is 2 for the root");
  // The item of the file lends nothing to the override's.
  EXPECT_EQ(
      problems_of("name: x\ndata: {sources: [{path: a}]}", {"data.sources=[{weight: 1}]"}),
      "--set data.sources=[{weight: 1}]: data.sources[0].path: missing, but required (token file)");
}

TEST(Config, RefusesSectionsThatAreNone) {
  EXPECT_EQ(problems_with("optimizer: adamw"),
            "c.yaml:2:1: optimizer: found 'adamw', expected a section");
  EXPECT_EQ(problems_with("optimizer:"), "c.yaml:2:1: optimizer: found null, expected a section");
  EXPECT_EQ(problems_with("optimizer: [1]"),
            "c.yaml:2:1: optimizer: found a list, expected a section");
}

TEST(Config, SuggestsKeys) {
  EXPECT_EQ(problems_with("optimzier: {}"),
            "c.yaml:2:1: optimzier: unknown key; did you mean 'optimizer'?");
  EXPECT_EQ(
      problems_with("optimizer:\n  warmup_setps: 1"),
      "c.yaml:3:3: optimizer.warmup_setps: unknown key; did you mean 'optimizer.warmup_steps'?");
  EXPECT_EQ(problems_with("data:\n  lr: 1"),
            "c.yaml:3:3: data.lr: unknown key here; it exists as 'optimizer.lr'");
  EXPECT_EQ(problems_with("data:\n  name: y"),
            "c.yaml:3:3: data.name: unknown key here; it exists as 'name'");
  EXPECT_EQ(problems_with("optimizer:\n  momentum: 1"),
            "c.yaml:3:3: optimizer.momentum: unknown key, expected one of lr, min_lr, "
            "warmup_steps, decay, "
            "eps, no_decay");
  EXPECT_EQ(problems_with("optimizer.lr: 1"),
            "c.yaml:2:1: optimizer.lr: unknown key; a file has 'lr:' below 'optimizer:' instead");
}

TEST(Config, RefusesRepeatedKeys) {
  EXPECT_EQ(problems_with("optimizer:\n  lr: 1\n  min_lr: 1\n  lr: 2"),
            "c.yaml:5:3: optimizer.lr: given twice, first at line 3");
  EXPECT_EQ(problems_with("data: {seed: 1}\ndata: {seed: 2}"),
            "c.yaml:3:1: data: given twice, first at line 2");
  EXPECT_EQ(problems_with("unknown: {a: [{b: 1, b: 2}]}"),
            "c.yaml:2:1: unknown: unknown key, expected one of name, optimizer, data\n"
            "c.yaml:2:22: unknown.a[0].b: given twice, first at line 2");
  EXPECT_EQ(problems_of("name: x", {"data.sources=[{path: a, path: b}]"}),
            "--set data.sources=[{path: a, path: b}]: data.sources[0].path: given twice");
}

TEST(Config, RequiredKeysMustBeGiven) {
  EXPECT_EQ(problems_of(""), "c.yaml: name: missing, but required (what the run is called)");
  EXPECT_EQ(problems_of("# nothing\n"),
            "c.yaml: name: missing, but required (what the run is called)");
  EXPECT_EQ(problems_of("", {"name=x"}), "no error");
}

TEST(Config, ReportsContradictionsAtTheKeyOrTheSection) {
  EXPECT_EQ(problems_with("optimizer:\n  lr: 1\n  min_lr: 2"),
            "c.yaml:4:3: optimizer.min_lr: is 2, but lr is 1");
  EXPECT_EQ(problems_of("name: x\noptimizer: {lr: 1}", {"optimizer.min_lr=2"}),
            "--set optimizer.min_lr=2: is 2, but lr is 1");
  EXPECT_EQ(problems_with("optimizer: {decay: off, warmup_steps: 1}"),
            "c.yaml:2:1: optimizer: warms up to no schedule");
  EXPECT_EQ(problems_of("name: x", {"optimizer.decay=off", "optimizer.warmup_steps=1"}),
            "c.yaml: optimizer: warms up to no schedule");
  // Not asked of a section that could not be read: lr would still be the default there.
  EXPECT_EQ(problems_with("optimizer:\n  lr: fast\n  min_lr: 2"),
            "c.yaml:3:3: optimizer.lr: found 'fast', expected a number > 0");
}

TEST(Config, ProblemsWithoutAFileAreNamedByTheirKeyAlone) {
  ConfigProblems problems;
  EXPECT_TRUE(problems.empty());
  OptimizerConfig{.lr = 1, .min_lr = 2, .no_decay = {}}.validate(problems);
  EXPECT_EQ(problems.text(), "config: min_lr: is 2, but lr is 1");
}

TEST(Config, ReportsEverythingAtOnceInOrder) {
  EXPECT_EQ(problems_of("data:\n  shufle: true\noptimizer:\n  lr: fast\n  lr: 1\n  min_lr: x\n",
                        {"optimizer.eps=2", "optimizer", "data.seed=x"}),
            "c.yaml: name: missing, but required (what the run is called)\n"
            "c.yaml:2:3: data.shufle: unknown key; did you mean 'data.shuffle'?\n"
            "c.yaml:4:3: optimizer.lr: found 'fast', expected a number > 0\n"
            "c.yaml:5:3: optimizer.lr: given twice, first at line 4\n"
            "c.yaml:6:3: optimizer.min_lr: found 'x', expected a number >= 0\n"
            "--set optimizer.eps=2: found '2', expected a number > 0 and < 1\n"
            "--set optimizer: expected section.key=value\n"
            "--set data.seed=x: found 'x', expected an integer");
}

struct ListedTwice {
  double lr = 0;
  void fields(auto&& f) {
    f("lr", lr, "once");
    f("lr", lr, "and again");
  }
};

TEST(Config, AStructListsEachFieldOnce) {
  EXPECT_THROW(parse_config<ListedTwice>("lr: 1", "c.yaml"), Error);
}

TEST(Config, RefusesBadOverrides) {
  const auto with = [](const std::string& assignment) {
    return problems_of("name: x", {assignment});
  };
  EXPECT_EQ(with(""), "--set : expected section.key=value");
  EXPECT_EQ(with("=1"), "--set =1: expected section.key=value");
  EXPECT_EQ(
      with("optimizer.lr="),
      "--set optimizer.lr=: expected a value behind '=': null to unset, '' for an empty text");
  EXPECT_EQ(
      with("optimizer.lr=a: 1"),
      "--set optimizer.lr=a: 1: found a section, expected one value or a list such as [a, b]");
  EXPECT_EQ(with("optimizer.no_decay=[a"),
            "--set optimizer.no_decay=[a: end of sequence flow not found");
  EXPECT_EQ(with("optimizer.lr=*x"), "--set optimizer.lr=*x: the referenced anchor is not defined");
  EXPECT_EQ(with("optimizer=1"), "--set optimizer=1: found '1', expected a section");
  EXPECT_EQ(with("optimiser.lr=1"),
            "--set optimiser.lr=1: optimiser: unknown key; did you mean 'optimizer'?");
  EXPECT_EQ(with("optimizer.lrr=1"),
            "--set optimizer.lrr=1: unknown key; did you mean 'optimizer.lr'?");
  EXPECT_EQ(with("lr=1"), "--set lr=1: unknown key here; it exists as 'optimizer.lr'");
  EXPECT_EQ(with("name.first=1"),
            "--set name.first=1: name: found a section, expected a string of length > 0");
  EXPECT_EQ(with("optimizer..lr=1"), "--set optimizer..lr=1: expected section.key=value");
  EXPECT_EQ(with(".lr=1"), "--set .lr=1: expected section.key=value");
  EXPECT_EQ(with("optimizer.=1"), "--set optimizer.=1: expected section.key=value");
}

}  // namespace
}  // namespace hg
