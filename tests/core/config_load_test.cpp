#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/check.h"
#include "core/config.h"
#include "core/config_example.h"

namespace hg {
namespace {

using example::Decay;
using example::RunConfig;

template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

std::string problems_of(const std::string& yaml) {
  return error_of([&] { parse_config<RunConfig>(yaml, "c.yaml"); });
}

TEST(ConfigYaml, SyntaxErrorsComeInTheWordsOfTheParser) {
  EXPECT_EQ(problems_of("name: [a, b\ndata: 5"), "c.yaml:2:5: end of sequence flow not found");
  EXPECT_EQ(problems_of("name: x\n y: 1"), "c.yaml:2:3: illegal map value");
  EXPECT_EQ(problems_of("name: x\noptimizer:\n\tlr: 1"), "c.yaml:3:4: illegal map value");
  EXPECT_EQ(problems_of("name: \"x"), "c.yaml:1:9: illegal EOF in scalar");
}

TEST(ConfigYaml, RefusesWhatAConfigHasNoUseFor) {
  EXPECT_EQ(problems_of("- 1"), "c.yaml:1:1: found a list, expected keys with values");
  EXPECT_EQ(problems_of("word"), "c.yaml:1:1: found 'word', expected keys with values");
  EXPECT_EQ(problems_of("name: a\n---\nname: b"),
            "c.yaml:2:1: found a second document, expected one");
  EXPECT_EQ(problems_of("name: &x a"),
            "c.yaml:1:7: found an anchor (&), expected the value itself");
  EXPECT_EQ(problems_of("name: &x a\ndata: *x"),
            "c.yaml:1:7: found an anchor (&), expected the value itself");
  EXPECT_EQ(problems_of("name: !!str 5"), "c.yaml:1:7: found a tag (!), expected a value");
  EXPECT_EQ(problems_of("? [a]\n: b"), "c.yaml:1:3: found a value, expected a key");
  EXPECT_EQ(problems_of("~: b"), "c.yaml:1:1: found a value, expected a key");
  EXPECT_EQ(problems_of("'': b"), "c.yaml:1:1: found an empty key, expected a word");
}

/// A folder of configs; paths in messages are relative to the folder above it.
class ConfigFiles : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "config_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string path(const std::string& name) const { return root_ / name; }
  void write(const std::string& name, const std::string& yaml) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name)) << yaml;
  }
  Loaded<RunConfig> load(const std::string& name,
                         const std::vector<std::string>& overrides = {}) const {
    return load_config<RunConfig>(path(name), overrides);
  }
  /// The error of loading, with the folder's own name left out.
  std::string problems(const std::string& name) const {
    std::string text = error_of([&] { load(name); });
    const std::string folder = path("");
    for (std::size_t at; (at = text.find(folder)) != text.npos;) text.erase(at, folder.size());
    return text;
  }

 private:
  std::filesystem::path root_;
};

TEST_F(ConfigFiles, SaysWhyAFileCannotBeRead) {
  write("folder/c.yaml", "");
  EXPECT_EQ(problems("none.yaml"), "none.yaml: cannot be read: No such file or directory");
  EXPECT_EQ(problems("folder"), "folder: cannot be read: Is a directory");
}

TEST_F(ConfigFiles, ExtendedFilesComeFirst) {
  write("base.yaml", "name: base\noptimizer: {lr: 1, eps: 0.5, no_decay: [a, b]}\n");
  write("sub/middle.yaml", "optimizer:\n  lr: 2\n  decay: wsd\nextends: ../base.yaml\n");
  write("sub/top.yaml", "extends: middle.yaml\noptimizer: {lr: 3, no_decay: [c]}\n");
  const auto [run, origins] = load("sub/top.yaml", {"data.seed=7"});
  EXPECT_EQ(run.name, "base");
  EXPECT_EQ(run.optimizer.lr, 3);
  EXPECT_EQ(run.optimizer.decay, Decay::wsd);
  EXPECT_EQ(run.optimizer.eps, 0.5F);
  EXPECT_EQ(run.optimizer.no_decay, std::vector<std::string>{"c"});

  EXPECT_EQ(origins.size(), 12U);
  EXPECT_EQ(origins.at("name"), path("base.yaml:1"));
  EXPECT_EQ(origins.at("optimizer.lr"), path("sub/top.yaml:2"));
  EXPECT_EQ(origins.at("optimizer.decay"), path("sub/middle.yaml:3"));
  EXPECT_EQ(origins.at("optimizer.min_lr"), "default");
  EXPECT_EQ(origins.at("data.seed"), "--set");
}

TEST_F(ConfigFiles, ProblemsOfExtendedFilesNameThem) {
  write("base.yaml", "optimizer:\n  lr: fast\n  lrr: 1\n");
  write("top.yaml", "extends: base.yaml\noptimizer:\n  lr: 1\n  eps: 2\n");
  EXPECT_EQ(problems("top.yaml"),
            "base.yaml:2:3: optimizer.lr: found 'fast', expected a number > 0\n"
            "base.yaml:3:3: optimizer.lrr: unknown key; did you mean 'optimizer.lr'?\n"
            "top.yaml: name: missing, but required (what the run is called)\n"
            "top.yaml:4:3: optimizer.eps: found '2', expected a number > 0 and < 1");
}

TEST_F(ConfigFiles, ContradictionsAcrossFilesStandAtTheKeyGivenLast) {
  write("base.yaml", "name: x\noptimizer:\n  min_lr: 2\n");
  write("top.yaml", "extends: base.yaml\noptimizer:\n  lr: 1\n");
  EXPECT_EQ(problems("top.yaml"), "base.yaml:3:3: optimizer.min_lr: is 2, but lr is 1");
}

TEST_F(ConfigFiles, RefusesBadExtends) {
  write("missing.yaml", "name: x\nextends: none.yaml");
  EXPECT_EQ(problems("missing.yaml"),
            "missing.yaml:2:1: extends: none.yaml cannot be read: No such file or directory");
  write("list.yaml", "name: x\nextends: [a, b]");
  EXPECT_EQ(problems("list.yaml"),
            "list.yaml:2:1: extends: found a list, expected the path of a file");
  write("self.yaml", "name: x\nextends: ./self.yaml");
  EXPECT_EQ(problems("self.yaml"),
            "self.yaml:2:1: extends: goes in a circle: self.yaml -> self.yaml");
  write("a.yaml", "name: x\nextends: b.yaml");
  write("b.yaml", "# b\n\nextends: a.yaml");
  EXPECT_EQ(problems("a.yaml"),
            "b.yaml:3:1: extends: goes in a circle: a.yaml -> b.yaml -> a.yaml");
  write("twice.yaml", "extends: ok.yaml\nextends: ok.yaml\nname: x");
  write("ok.yaml", "");
  EXPECT_EQ(problems("twice.yaml"), "twice.yaml:2:1: extends: given twice, first at line 1");
  write("nested.yaml", "name: x\noptimizer:\n  extends: ok.yaml");
  EXPECT_EQ(
      problems("nested.yaml"),
      "nested.yaml:3:3: optimizer.extends: unknown key, expected one of lr, min_lr, warmup_steps, "
      "decay, eps, no_decay");
}

}  // namespace
}  // namespace hg
