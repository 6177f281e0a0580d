// scripts/wandb_sync.py with a wandb module that writes down what it is told.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "support/finish.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

constexpr char kFakeWandb[] = R"(
import json, os
class Run:
    def __init__(self, **options):
        self.config = self
        self.note("init", options["id"])
    def note(self, *what):
        with open(os.environ["WANDB_FAKE"], "a") as out:
            out.write(json.dumps(what) + "\n")
    def update(self, values, allow_val_change):
        self.note("config", sorted(values))
    def log(self, values, step):
        self.note("log", step, values)
    def finish(self):
        self.note("finish")
def init(**options):
    return Run(**options)
)";

class WandbSyncTest : public testing::Test {
 protected:
  WandbSyncTest() { write_file(folder / "wandb.py", kFakeWandb); }
  /// What wandb was told by one start of the script.
  std::vector<nlohmann::json> sync() {
    std::filesystem::remove(folder / "told");
    const Finished done =
        finish(fmt::format("WANDB_FAKE={0}/told PYTHONPATH={0} python3 {1} {0}/run --project p",
                           folder.path().string(), source_path("scripts/wandb_sync.py")));
    EXPECT_EQ(done.exit_code, 0) << done.output;
    std::vector<nlohmann::json> told;
    std::istringstream lines(read_file(folder / "told"));
    for (std::string line; std::getline(lines, line);) told.push_back(nlohmann::json::parse(line));
    return told;
  }
  TempFolder folder;
};

TEST_F(WandbSyncTest, SendsEachStepOnceUnderTheSameId) {
  if (finish("command -v python3").exit_code != 0) GTEST_SKIP() << "no python3";
  std::filesystem::create_directories(folder / "run");
  write_file(folder / "run/metrics.jsonl",
             "{\"step\":1,\"tokens\":8,\"time\":5.0,\"kind\":\"train\",\"loss\":2.5,\"bad\":null}\n"
             "{\"step\":1,\"tokens\":8,\"time\":5.0,\"kind\":\"val\",\"v\":2}\n{\"step\":2,\"lo");
  const auto first = sync();
  ASSERT_EQ(first.size(), 3u);
  EXPECT_EQ(first[1], nlohmann::json::parse(R"(["log", 1, {"tokens": 8, "loss": 2.5, "v": 2}])"));
  EXPECT_EQ(first[2][0], "finish");

  write_file(folder / "run/metrics.jsonl",
             "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.25}\n");
  const auto second = sync();
  ASSERT_EQ(second.size(), 3u);
  EXPECT_EQ(second[0], first[0]);
  EXPECT_EQ(second[1], nlohmann::json::parse(R"(["log", 2, {"loss": 2.25}])"));
}

}  // namespace
}  // namespace hg::test
