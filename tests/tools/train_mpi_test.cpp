// headgate train as real processes: what it learns, and how it ends when one of them fails.
#include <gmock/gmock.h>

#include <csignal>
#include <thread>

#include "support/mpirun.h"
#include "support/paths.h"
#include "support/small_run.h"
#include "train/checkpoint/checkpoint.h"
#include "train/exit_code.h"
#include "train/run_lock.h"
#include "train/safetensors.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

class TrainMpiTest : public SmallRun {
 protected:
  TrainMpiTest() {
    config.model.vocab_size = 260;
    config.training.global_batch_size = 12;
    config.training.micro_batch_size = 1;
    config.metrics.tensorboard = false;
    config.metrics.instrument_interval = 0;
    config.data.train = "tokens_train";
    config.data.validation = "tokens_validation";
  }
  void SetUp() override { need_mpirun(); }

  /// What one rank is: the shell goes to `place` and becomes headgate.
  std::string rank(const std::string& place, const std::string& options = {}) const {
    return fmt::format(
        "sh -c 'cd {} && echo $$ > {}/pid.$OMPI_COMM_WORLD_RANK && exec {} train {}/config.yaml "
        "--run {}/{} --timeout {} {}'",
        place, folder.path().string(), kHeadgate, folder.path().string(), folder.path().string(),
        run_name, timeout, options);
  }
  std::string rank() const { return rank(folder.path().string()); }

  /// Three ranks, of which rank 1 is what is said.
  Finished three_ranks(const std::string& second) const {
    write_file(folder / "config.yaml", to_yaml(config));
    return finish(fmt::format("{0} -n 1 {1} : -n 1 {2} : -n 1 {1}", kMpirun, rank(), second));
  }

  /// In a run without end, sends rank 1 this signal behind the first checkpoint.
  Finished interrupted_by(int signal) {
    config.training.steps = 1000000;
    config.checkpoint.interval = 3;
    const std::jthread sender([&](const std::stop_token& stop) {
      while (!newest_checkpoint(folder / "run" / "checkpoints")) {
        if (stop.stop_requested()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      kill(std::stoi(read_file(folder / "pid.1")), signal);
    });
    return three_ranks(rank());
  }

  /// All checkpoints are whole, and a run goes on from the newest.
  void expect_whole_checkpoints() {
    for (const auto& entry : fs::directory_iterator(folder / "run" / "checkpoints")) {
      if (step_of_checkpoint(entry.path()) < 0) continue;
      EXPECT_NO_THROW(inspect_checkpoint(entry.path(), Inspect::all)) << entry.path();
      const SavedTensors model(entry.path(), "model"), moments(entry.path(), "optimizer");
      EXPECT_EQ(2 * model.names().size(), moments.names().size()) << entry.path();
    }
    const auto newest = newest_checkpoint(folder / "run" / "checkpoints");
    ASSERT_TRUE(newest);
    config.training.steps = std::stoi(newest->filename().string().substr(5)) + 1;
    write_file(folder / "config.yaml", to_yaml(config));
    const Finished resumed = finish(rank());
    EXPECT_EQ(resumed.exit_code, 0) << resumed.output;
    EXPECT_THAT(resumed.output, HasSubstr("continuing from")) << resumed.output;
  }

  /// The job failed with these words, and none of its ranks is left.
  void expect_failure(const Finished& result, const std::string& words) const {
    EXPECT_GT(result.exit_code, 0) << result.output;
    EXPECT_LT(result.seconds, 55) << result.output;
    EXPECT_THAT(result.output, HasSubstr(words));
    for (const char* file : {"pid.0", "pid.1", "pid.2"}) {
      const pid_t pid = std::stoi(read_file(folder / file));
      for (int i = 0; i < 100 && kill(pid, 0) == 0; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      EXPECT_NE(kill(pid, 0), 0) << file << " is still there";
    }
  }

  int timeout = 60;  // seconds that a collective may take
  std::string run_name = "run";
};

TEST_F(TrainMpiTest, AKilledRankEndsTheOthers) {
  const Finished result = interrupted_by(SIGKILL);
  expect_failure(result, "rank 1 with PID");  // mpirun's words
  EXPECT_THAT(result.output, HasSubstr("signal 9"));
  expect_whole_checkpoints();
}

TEST_F(TrainMpiTest, AStoppedRankIsNamed) {
  timeout = 10;
  expect_failure(interrupted_by(SIGSTOP),
                 "rank 1 does not answer (ended, stopped or out of reach), and ");
  expect_whole_checkpoints();
}

TEST_F(TrainMpiTest, AStoppedStageIsNamed) {
  timeout = 10;
  config.model.num_hidden_layers = 3;
  config.parallelism.pipeline = 3;
  expect_failure(interrupted_by(SIGSTOP),
                 "rank 1 does not answer (ended, stopped or out of reach), and ");
}

TEST_F(TrainMpiTest, AnotherConfigIsNamed) {
  const Finished result = three_ranks(rank(folder.path().string(), "--set training.seed=2"));
  expect_failure(result, "the ranks do not run the same thing: different configs: ");
  EXPECT_THAT(result.output, testing::ContainsRegex("ranks 0, 2 have '[0-9a-f]+'"));
  EXPECT_THAT(result.output, testing::ContainsRegex("rank 1 has '[0-9a-f]+'"));
  EXPECT_FALSE(fs::exists(folder / "run"));
  // All fail at once; were one to leave the end to another, it would take the 20 s that a rank
  // waits for that.
  EXPECT_LT(result.seconds, 15) << result.output;
}

TEST_F(TrainMpiTest, MissingDataIsNamed) {
  run_name = "run/";
  const Finished result = three_ranks(rank("/"));
  expect_failure(result, "[1] E cannot open tokens_train.idx");
  EXPECT_FALSE(fs::exists(folder / "run"));
  EXPECT_TRUE(fs::exists(folder / "run.flight" / "flight_rank_1.json"));
}

TEST_F(TrainMpiTest, TheJobHasTheExitCodeOfItsFailure) {
  config.optimizer.lr = 1e30;
  const Finished spoiled = three_ranks(rank());
  expect_failure(spoiled, "not finite; stopped before the optimizer step");
  EXPECT_EQ(spoiled.exit_code, kTrainingFailed);
  const RunLock lock(folder / "run");
  const Finished second = three_ranks(rank());
  expect_failure(second, "another run is at work in this folder");
  EXPECT_EQ(second.exit_code, kRunInUse);
}

struct LayoutOfFour {
  const char* name;
  Precision precision;
  ParallelismConfig parallelism;
};
void PrintTo(const LayoutOfFour& layout, std::ostream* out) { *out << layout.name; }

class TrainMpiLayout : public TrainMpiTest, public testing::WithParamInterface<LayoutOfFour> {};

TEST_P(TrainMpiLayout, LearnsWhatOneRankLearns) {
  const double tolerance = GetParam().precision == Precision::f32 ? 1e-5 : 1e-3;
  config.training.precision = GetParam().precision;
  config.model.num_hidden_layers = 4;
  config.training.steps = config.validation.interval = config.checkpoint.interval = 20;
  config.training.global_batch_size = 8;
  config.optimizer.lr = 2e-3;
  config.training.replica_check_interval = 5;
  write_file(folder / "config.yaml", to_yaml(config));
  const Finished one = finish(rank());
  ASSERT_EQ(one.exit_code, 0) << one.output;
  fs::rename(folder / "run", folder / "one");
  config.parallelism = GetParam().parallelism;
  write_file(folder / "config.yaml", to_yaml(config));
  const Finished four = finish(fmt::format("{} -n 4 {}", kMpirun, rank()));
  ASSERT_EQ(four.exit_code, 0) << four.output;

  const auto expected = rows("one", "train"), found = rows("run", "train");
  ASSERT_EQ(found.size(), 20U);
  ASSERT_EQ(expected.size(), 20U);
  const char* loss = "loss_metrics/global_avg_loss";
  EXPECT_LT(expected.back().at(loss).get<double>(), expected.front().at(loss).get<double>() - 1);
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i].at(loss), expected[i].at(loss), tolerance) << "step " << i + 1;
  const char* held_out = "validation_metrics/loss";
  EXPECT_NEAR(rows("run", "val").back().at(held_out), rows("one", "val").back().at(held_out),
              tolerance);
}

const LayoutOfFour kLayouts[] = {
    {"tensor_f32", Precision::f32, {.data = 2, .tensor = 2}},
    {"tensor_bf16", Precision::bf16, {.data = 2, .tensor = 2}},
    {"pipeline_f32", Precision::f32, {.pipeline = 2, .pipeline_chunks = 2, .data = 2}},
};
INSTANTIATE_TEST_SUITE_P(Layouts, TrainMpiLayout, testing::ValuesIn(kLayouts),
                         [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace hg::test
