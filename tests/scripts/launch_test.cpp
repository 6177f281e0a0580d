// scripts/launch beside Slurm's and Open MPI's programs that only say what they were asked for.
#include <gmock/gmock.h>

#include <sys/stat.h>

#include <thread>

#include "core/clock.h"
#include "support/child.h"
#include "support/finish.h"
#include "support/paths.h"
#include "support/small_run.h"
#include "train/checkpoint/checkpoint_folder.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

// Takes its own options off, starts the program as two tasks, and passes SIGUSR1 on to them, as
// srun does.
constexpr char kFakeSrun[] = R"(#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
tasks=()
trap 'kill -USR1 "${tasks[@]}"' USR1
for task in 0 1; do
  "$@" --run "$FAKE/run$task" & tasks+=($!)
done
status=0
for task in "${tasks[@]}"; do
  while kill -0 "$task" 2> /dev/null; do wait "$task"; done
  wait "$task" || status=$?
done
exit "$status"
)";

// What it was told, and what the runs had on the disk when it was told so.
constexpr char kFakeScontrol[] = R"(#!/usr/bin/env bash
echo "$*" >> "$FAKE/told"
for task in 0 1; do readlink "$FAKE/run$task/checkpoints/latest" >> "$FAKE/told"; done
)";

class SlurmScriptTest : public SmallRun {
 protected:
  SlurmScriptTest() {
    add_program("srun", kFakeSrun);
    add_program("scontrol", kFakeScontrol);
    config.training.steps = 1000000;
    config.training.threads = 1;
    config.training.time_limit = 2;  // nothing stays behind where the script forgets the ranks
    config.lr_scheduler.decay = ScheduleKind::constant;
    config.validation.interval = 1000000;
    config.checkpoint.interval = 0;  // only what the signal asks for
    config.metrics.tensorboard = false;
    config.metrics.instrument_interval = 0;
  }

  void add_program(const char* name, const char* text) const {
    fs::create_directories(folder / "bin");
    write_file(folder / "bin" / name, text);
    ::chmod((folder / "bin" / name).c_str(), 0755);
  }

  /// The script as Slurm starts it.
  Child start(const std::string& headgate) const {
    write_file(folder / "run.yaml", to_yaml(config));
    return {
        {"/usr/bin/env", fmt::format("PATH={}:{}", (folder / "bin").string(), std::getenv("PATH")),
         "FAKE=" + folder.path().string(), "SLURM_SUBMIT_DIR=" + folder.path().string(),
         "SLURM_JOB_ID=7", "HEADGATE=" + headgate, source_path("scripts/launch/slurm.sbatch"),
         "train", "run.yaml"},
        folder / "slurm.log"};
  }

  /// Until both tasks have done a step.
  void wait_for_steps(Child& child) const {
    const auto begun = [&](const char* name) {
      return fs::exists(folder / name / "metrics.jsonl") && !rows(name, "train").empty();
    };
    const auto from = Clock::now();
    while (child.running() && seconds_since(from) < 60 && !(begun("run0") && begun("run1")))
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
};

TEST_F(SlurmScriptTest, RanksSaveBeforeTheJobGoesBackIntoTheQueue) {
  Child job = start(kHeadgate);
  wait_for_steps(job);
  ASSERT_TRUE(job.running()) << job.output();
  job.send(SIGUSR1);
  ASSERT_EQ(job.wait(), 0) << job.output();
  std::string expected = "requeue 7\n";
  for (const char* name : {"run0", "run1"}) {
    const auto newest = newest_checkpoint(folder / name / "checkpoints", Inspect::all);
    ASSERT_TRUE(newest) << job.output();
    expected += newest->filename().string() + "\n";
  }
  EXPECT_EQ(read_file(folder / "told"), expected) << "what stood there when the job was requeued";
}

TEST_F(SlurmScriptTest, ARunThatEndsByItselfIsNotStartedAgain) {
  config.training.steps = 2;
  Child job = start(kHeadgate);
  EXPECT_EQ(job.wait(), 0) << job.output();
  EXPECT_FALSE(fs::exists(folder / "told"));
}

TEST_F(SlurmScriptTest, AFailedRunIsNotStartedAgainWhetherOrNotTheTimeIsOver) {
  add_program("failing",
              "#!/usr/bin/env bash\ntrap 'exit 3' USR1\ntouch \"${!#}\"\n"
              "[[ $1 != train ]] || for i in {1..1000}; do sleep 0.05; done\nexit 3\n");
  Child job = start((folder / "bin/failing").string());
  const auto from = Clock::now();
  while (seconds_since(from) < 60 && !(fs::exists(folder / "run0") && fs::exists(folder / "run1")))
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  job.send(SIGUSR1);
  EXPECT_EQ(job.wait(), 3) << job.output();
  EXPECT_THAT(job.output(), HasSubstr("asking the ranks to save"));
  EXPECT_FALSE(fs::exists(folder / "told"));

  config.training.steps = -1;
  Child refused = start(kHeadgate);
  EXPECT_EQ(refused.wait(), 1) << refused.output();
  EXPECT_FALSE(fs::exists(folder / "told"));
}

TEST(MpirunScript, OtherNodesGetTheVariablesOfNcclAndHeadgate) {
  const TempFolder folder;
  write_file(folder / "mpirun", "#!/usr/bin/env bash\nprintf '%s\\n' \"$@\"\n");
  ::chmod((folder / "mpirun").c_str(), 0755);
  const Finished said = finish(fmt::format(
      "env -u OMP_WAIT_POLICY PATH={}:$PATH NCCL_DEBUG=INFO NCCL_IB_HCA=mlx5 "
      "HEADGATE_ATTENTION=own HEADGATE=/headgate {} -n 2 -x NCCL_DEBUG=WARN -- train a.yaml",
      folder.path().string(), source_path("scripts/launch/mpirun")));
  EXPECT_EQ(said.exit_code, 0) << said.output;
  for (const char* once : {"-x\nOMP_WAIT_POLICY\n", "-x\nNCCL_IB_HCA\n", "-x\nHEADGATE_ATTENTION\n",
                           "-x\nNCCL_DEBUG=WARN\n"})
    EXPECT_THAT(said.output, HasSubstr(once));
  EXPECT_EQ(said.output.find("-x\nNCCL_DEBUG\n"), said.output.npos) << "named by the options";
  EXPECT_TRUE(said.output.ends_with("/headgate\ntrain\na.yaml\n")) << said.output;
}

}  // namespace
}  // namespace hg::test
