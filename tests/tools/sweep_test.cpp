// headgate sweep as users meet it: killed and started again, and what it refuses.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "support/finish.h"
#include "support/mpirun.h"
#include "support/paths.h"
#include "support/small_run.h"
#include "train/checkpoint/checkpoint.h"
#include "train/sweep/child_process.h"

namespace hg::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class SweepCliTest : public SmallRun {
 protected:
  SweepCliTest() {
    config.training.steps = 120;
    config.checkpoint.interval = 10;
    config.validation.interval = 20;
    config.metrics.tensorboard = false;
  }
  /// A sweep file of learning rates, writing to this folder.
  std::string write(const std::string& to, const std::string& lines) const {
    write_file(folder / "base.yaml", to_yaml(config));
    const fs::path path = folder / (to + ".yaml");
    write_file(path, fmt::format("name: small\nbase: base.yaml\nfolder: {}\n{}",
                                 (folder / to).string(), lines));
    return path.string();
  }
  std::string text(const std::string& file) const { return read_file(folder / file); }

  static constexpr char kTwoByTwo[] = R"(axes:
  - {key: optimizer.lr, values: [1e-2, 1e25]}
  - {key: training.seed, values: [1, 2]}
)";
};

TEST_F(SweepCliTest, KilledAndStartedAgainItFindsTheSame) {
  const Finished whole = finish(kHeadgate + " sweep " + write("whole", kTwoByTwo));
  ASSERT_EQ(whole.exit_code, 0) << whole.output;

  // Killed in the middle of the second run, behind a checkpoint.
  const std::string file = write("killed", kTwoByTwo);
  const fs::path second = folder / "killed/runs/lr0.01-seed2";
  {
    ChildProcess sweep({kHeadgate, "sweep", file}, folder / "log");
    while (!newest_checkpoint(second / "checkpoints")) {
      ASSERT_FALSE(sweep.poll()) << sweep.output();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    sweep.kill();
  }
  const auto status = [&](std::size_t point) {
    return json::parse(text("killed/sweep.json"))["points"][point]["status"];
  };
  EXPECT_EQ(status(0), "finished");
  EXPECT_EQ(status(1), "running");
  EXPECT_EQ(status(2), "waiting");
  const Finished again = finish(kHeadgate + " sweep " + file);
  ASSERT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(text("killed/logs/lr0.01-seed2.log"), HasSubstr("continuing from"));
  EXPECT_THAT(text("killed/logs/lr0.01-seed1.log"), testing::Not(HasSubstr("continuing from")));
  EXPECT_EQ(text("killed/sweep.json"), text("whole/sweep.json"));

  const json result = json::parse(text("whole/sweep.json"));
  EXPECT_EQ(result["points"][2]["status"], "diverged");
  const json& variant = result["variants"][0];
  EXPECT_EQ(variant["best_lr"], 0.01);
  EXPECT_EQ(variant["largest_stable_lr"], 0.01);
  EXPECT_EQ(variant["seeds"], json({1, 2}));
  double trained = 0, initial = 0;
  for (int seed = 0; seed < 2; ++seed) {
    trained += result["points"][seed]["final_validation_loss"].get<double>() / 2;
    initial += result["points"][2 + seed]["initial_loss"].get<double>() / 2;
  }
  EXPECT_NEAR(variant["lr_sensitivity"], (initial - trained) / 2, 1e-12);
}

TEST_F(SweepCliTest, EndsARunThatHasDiverged) {
  config.training.steps = 1000000;
  const Finished result =
      finish(kHeadgate + " sweep " +
             write("early", "axes: [{key: optimizer.lr, values: [30]}]\ndiverged: {window: 20}"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  const json point = json::parse(text("early/sweep.json"))["points"][0];
  EXPECT_EQ(point["status"], "diverged");
  EXPECT_EQ(point["steps"], 20);
  EXPECT_THAT(point["reason"], HasSubstr("step 20: the median training loss of 20 steps is"));
}

TEST_F(SweepCliTest, RecordsAFailureAndTriesItAgain) {
  const std::string axes = "axes: [{key: training.steps, values: [2, 3]}]\n";
  const Finished failed =
      finish(kHeadgate + " sweep " + write("failed", "launcher: [\"false\"]\n" + axes));
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_THAT(failed.output, HasSubstr("2 of 2 runs failed"));
  const std::string file = write("failed", axes);
  const Finished one = finish(kHeadgate + " sweep " + file + " --point 1");
  EXPECT_EQ(one.exit_code, 0) << one.output;
  finish(kHeadgate + " sweep " + file + " --collect");
  const json points = json::parse(text("failed/sweep.json"))["points"];
  EXPECT_EQ(points[0]["status"], "failed");
  EXPECT_EQ(points[1]["status"], "finished");
  EXPECT_EQ(points[1]["steps"], 3);
}

TEST_F(SweepCliTest, RefusesAnUnknownKeyBeforeTheFirstRun) {
  const Finished result = finish(kHeadgate + " sweep " +
                                 write("bad", "axes:\n  - {key: optimizer.lrr, values: [1]}\n"));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output,
              HasSubstr("bad.yaml:5:6: optimizer.lrr: unknown key; did you mean 'optimizer.lr'?"));
  EXPECT_FALSE(fs::exists(folder / "bad"));
}

TEST_F(SweepCliTest, RunsAtATimeHaveGpusOfTheirOwn) {
  // In place of training: says which GPUs it was given, while the other run is there too.
  const std::string lines =
      "launcher: [sh, -c, 'echo \"gpus $CUDA_VISIBLE_DEVICES\"; sleep 1; exit 1']\n"
      "set: {training.device: cuda}\naxes: [{key: training.seed, values: [1, 2, 3]}]\n";
  const std::string sweep = "CUDA_VISIBLE_DEVICES=3,5,8,9,7 " + kHeadgate + " sweep ";
  const Finished unknown = finish(sweep + write("gpus", lines));
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.output, HasSubstr("but ranks is not set"));
  const Finished many = finish(sweep + write("gpus", "ranks: 2\njobs: 3\n" + lines));
  EXPECT_THAT(many.output, HasSubstr("need 6 GPUs, there are 5 (3,5,8,9,7)"));
  finish(sweep + write("gpus", "ranks: 2\njobs: 2\n" + lines));
  const auto log = [&](int seed) { return text(fmt::format("gpus/logs/seed{}.log", seed)); };
  EXPECT_THAT(log(1), testing::StartsWith("gpus 3,5\n"));
  EXPECT_THAT(log(2), testing::StartsWith("gpus 8,9\n"));
  EXPECT_THAT(log(3), testing::AnyOf("gpus 3,5\n", "gpus 8,9\n"));
}

TEST_F(SweepCliTest, RefusesAPointBelowZero) {
  const std::string file = write("one", "axes: [{key: training.seed, values: [1]}]\n");
  const Finished result = finish(kHeadgate + " sweep " + file + " --point -1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("--point -1: " + file + " has points 0 to 0"));
  EXPECT_FALSE(fs::exists(folder / "one"));
}

TEST_F(SweepCliTest, SaysAtTheStartThatNothingIsValidated) {
  config.data.validation.clear();
  const std::string file = write("blind", "axes: [{key: training.seed, values: [1, 2]}]\n");
  const Finished listed = finish(kHeadgate + " sweep " + file + " --list");
  EXPECT_EQ(listed.exit_code, 0);
  EXPECT_THAT(listed.output, HasSubstr("2 of 2 runs have no data.validation"));
}

TEST_F(SweepCliTest, StopsWhenAskedAndContinues) {
  config.training.steps = 1000000;
  const std::string file = write("stopped", "axes: [{key: training.seed, values: [1]}]");
  ChildProcess sweep({kHeadgate, "sweep", file}, folder / "log");
  while (!newest_checkpoint(folder / "stopped/runs/seed1/checkpoints")) {
    ASSERT_FALSE(sweep.poll()) << sweep.output();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  sweep.terminate();
  while (!sweep.poll()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(WEXITSTATUS(*sweep.poll()), 1);
  EXPECT_THAT(sweep.output(), HasSubstr("the sweep was stopped; start it again to continue"));
  EXPECT_FALSE(fs::exists(folder / "stopped/results/seed1.json"));
}

using SweepMpiTest = SweepCliTest;

TEST_F(SweepMpiTest, RanksAreAskedToSaveAndEnd) {
  need_mpirun();
  if (IsSkipped()) return;
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "mpirun wants a core for each rank";
  config.training.steps = config.checkpoint.interval = 1000000;
  config.training.threads = 1;
  const std::string file = write("ranks", "ranks: 2\naxes: [{key: training.seed, values: [1]}]\n");
  const fs::path run = folder / "ranks/runs/seed1";
  ChildProcess sweep({kHeadgate, "sweep", file}, folder / "log");
  while (!fs::exists(run / "metrics.jsonl") || rows("ranks/runs/seed1", "train").empty()) {
    ASSERT_FALSE(sweep.poll()) << sweep.output();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  sweep.terminate();
  while (!sweep.poll()) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(newest_checkpoint(run / "checkpoints")) << text("ranks/logs/seed1.log");
  EXPECT_THAT(text("ranks/logs/seed1.log"), HasSubstr("the same command continues"));
}

TEST_F(SweepMpiTest, SaysWhyARunOfSeveralRanksFailed) {
  need_mpirun();
  if (IsSkipped()) return;
  config.data.train = "/nowhere";
  const std::string file =
      write("failed",
            "ranks: 2\nlauncher: [mpirun, --oversubscribe, --allow-run-as-root, -n, '2']\n"
            "axes: [{key: training.seed, values: [1]}]\n");
  const Finished result = finish(kHeadgate + " sweep " + file);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  const json point = json::parse(text("failed/sweep.json"))["points"][0];
  EXPECT_EQ(point["status"], "failed");
  EXPECT_THAT(point["reason"].get<std::string>(), HasSubstr("/nowhere"));
}

/// Whether a process has signals that no handler has seen yet.
bool has_pending_signals(pid_t process) {
  constexpr std::string_view kName = "ShdPnd:\t";
  const std::string status = read_file(fmt::format("/proc/{}/status", process));
  const std::size_t at = status.find(kName) + kName.size();
  return status.substr(at, 16) != "0000000000000000";
}

// As batch systems do, which signal all processes of a job.
TEST_F(SweepCliTest, ARunThatWasSignalledIsNotKilledByTheRequestToEnd) {
  config.training.steps = 1000000;
  write_file(folder / "config.yaml", to_yaml(config));
  ChildProcess run({kHeadgate, "train", folder / "config.yaml", "--run", folder / "run"},
                   folder / "log");
  while (!newest_checkpoint(folder / "run" / "checkpoints")) {
    ASSERT_FALSE(run.poll()) << run.output();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::string lock = read_file(folder / "run" / "lock");  // "process 123 on HOST"
  const pid_t process = std::stoi(lock.substr(lock.find(' ')));
  ::kill(process, SIGTERM);
  while (has_pending_signals(process)) std::this_thread::yield();
  run.terminate();
  while (!run.poll()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ASSERT_TRUE(WIFEXITED(*run.poll())) << "killed by signal " << WTERMSIG(*run.poll());
  EXPECT_EQ(WEXITSTATUS(*run.poll()), 0) << run.output();
  EXPECT_THAT(run.output(), HasSubstr("the same command continues"));
}

}  // namespace
}  // namespace hg::test
