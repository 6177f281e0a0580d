// headgate train when it is killed, asked to stop, refused its folder or its disk: whatever
// happens, the run that continues ends with the same bits.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <random>
#include <thread>

#include "core/clock.h"
#include "support/child.h"
#include "support/mpirun.h"
#include "support/paths.h"
#include "support/small_run.h"
#include "train/checkpoint/checkpoint.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

/// More when somebody wants to be sure: HEADGATE_KILLS=200.
int kills_wanted(int usual) {
  const char* text = std::getenv("HEADGATE_KILLS");
  return text == nullptr ? usual : std::atoi(text);
}

class FaultsTest : public SmallRun {
 protected:
  FaultsTest() {
    config.training.seq_len = 16;
    config.training.threads = 1;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = 2;
    config.validation.interval = 1000000;
    config.validation.sequences = 1;
    config.checkpoint.interval = 3;
    config.metrics.tensorboard = false;
    config.metrics.instrument_interval = 0;
  }

  void write_config() const { write_file(folder / "config.yaml", to_yaml(config)); }
  std::vector<std::string> command(const std::string& name) const {
    return {kHeadgate, "train", folder / "config.yaml", "--run", folder / name};
  }
  Child start(const std::string& name) const { return {command(name), folder / (name + ".log")}; }
  Child start_ranks(int ranks, const std::string& name, int most_seconds = 900) const {
    // Ranks leave their numbers, so that one of them can be hit.
    const std::string rank = fmt::format(
        "echo $$ > {0}/pid.$OMPI_COMM_WORLD_RANK && exec {1} train {0}/config.yaml --run {0}/{2}",
        folder.path().string(), kHeadgate, name);
    return {{"/bin/sh", "-c",
             fmt::format("exec env {} -n {} sh -c '{}'", mpirun_for(most_seconds), ranks, rank)},
            folder / (name + ".log")};
  }
  pid_t rank_pid(int rank) const {
    std::error_code error;
    const fs::path file = folder / fmt::format("pid.{}", rank);
    const std::string text = fs::exists(file) ? read_file(file) : "";
    return text.empty() ? 0 : std::atoi(text.c_str());
  }

  void wait_for_checkpoint(Child& child, const std::string& name) const {
    while (child.running() && list_checkpoints(folder / name / "checkpoints").empty())
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }

  /// Both runs ended at the same step with the same weights, moments and losses, and no step of the
  /// second is missing, or there twice.
  void expect_same_run(const std::string& whole, const std::string& broken) const {
    const auto last = [&](const std::string& name) {
      return checkpoint(name, checkpoint_name(config.training.steps).c_str());
    };
    EXPECT_EQ(saved(last(whole), "model"), saved(last(broken), "model"));
    EXPECT_EQ(saved(last(whole), "optimizer"), saved(last(broken), "optimizer"));
    const auto expected = rows(whole, "train"), found = rows(broken, "train");
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].at("step"), i + 1);
      EXPECT_EQ(found[i].at("loss_metrics/global_avg_loss"),
                expected[i].at("loss_metrics/global_avg_loss"));
    }
  }

  /// The broken run came to its end before all kills were spent: it is compared, and starts again.
  void begin_anew(const std::string& whole, const std::string& broken) const {
    expect_same_run(whole, broken);
    fs::remove_all(folder / broken);
  }
};

TEST_F(FaultsTest, KilledAtRandomInstants) {
  const int wanted = kills_wanted(10);
  config.training.steps = 200;
  write_config();
  const auto begin = Clock::now();
  Child first = start("whole");
  wait_for_checkpoint(first, "whole");
  const double until_checkpoint = seconds_since(begin);
  ASSERT_EQ(first.wait(), 0) << first.output();

  std::mt19937 random(1);
  std::uniform_real_distribution<double> delay(0, 2 * until_checkpoint);
  int kills = 0, ended = 0;
  while (kills < wanted) {
    Child child = start("broken");
    std::this_thread::sleep_for(std::chrono::duration<double>(delay(random)));
    child.send(SIGKILL);
    const int code = child.wait();
    if (code == 0) {
      ++ended;
      begin_anew("whole", "broken");
      continue;
    }
    ASSERT_EQ(code, 128 + SIGKILL) << child.output();
    ++kills;
  }
  Child last = start("broken");
  ASSERT_EQ(last.wait(), 0) << last.output();
  RecordProperty("kills", kills);
  RecordProperty("runs", ended + 1);
  expect_same_run("whole", "broken");
}

TEST_F(FaultsTest, KilledRanksAtRandomInstants) {
  need_mpirun();
  if (IsSkipped()) return;
  const int wanted = kills_wanted(4);
  config.training.steps = 200;
  config.parallelism.zero_stage = 1;
  write_config();
  const auto begin = Clock::now();
  Child first = start_ranks(2, "whole");
  wait_for_checkpoint(first, "whole");
  const double until_checkpoint = seconds_since(begin);
  ASSERT_EQ(first.wait(), 0) << first.output();

  std::mt19937 random(2);
  std::uniform_real_distribution<double> delay(0, 2 * until_checkpoint);
  int kills = 0, ended = 0;
  while (kills < wanted) {
    for (const char* file : {"pid.0", "pid.1"}) fs::remove(folder / file);
    // Open MPI's mpirun waits for ever where a rank was killed while it was connecting.
    Child child = start_ranks(2, "broken", 60);
    std::this_thread::sleep_for(std::chrono::duration<double>(delay(random)));
    const pid_t rank = rank_pid(kills % 2);
    if (rank > 0) ::kill(rank, SIGKILL);
    if (child.wait() == 0) {
      ++ended;
      begin_anew("whole", "broken");
    } else {
      ++kills;
    }
  }
  RecordProperty("kills", kills);
  RecordProperty("runs", ended + 1);
  Child last = start_ranks(2, "broken");
  ASSERT_EQ(last.wait(), 0) << last.output();
  expect_same_run("whole", "broken");
}

TEST_F(FaultsTest, SignalsSaveAndEnd) {
  config.training.steps = 1000000;
  config.lr_scheduler.decay = ScheduleKind::constant;
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    const std::string name = fmt::format("signal{}", signal);
    write_config();
    Child child = start(name);
    wait_for_checkpoint(child, name);
    child.send(signal);
    ASSERT_EQ(child.wait(), 0) << child.output();
    EXPECT_THAT(child.output(), HasSubstr("the same command continues"));
    const auto newest = newest_checkpoint(folder / name / "checkpoints", Inspect::all);
    ASSERT_TRUE(newest);
    // What was logged is what was saved: nothing is computed twice.
    EXPECT_EQ(step_of_checkpoint(*newest), rows(name, "train").back().at("step"));
  }
}

TEST_F(FaultsTest, AStoppedRunGoesOnToTheSameBits) {
  config.training.steps = 150;
  write_config();
  ASSERT_EQ(start("whole").wait(), 0);
  Child child = start("broken");
  wait_for_checkpoint(child, "broken");
  child.send(SIGTERM);
  ASSERT_EQ(child.wait(), 0) << child.output();
  ASSERT_EQ(start("broken").wait(), 0);
  expect_same_run("whole", "broken");
}

// Forward while a run saves; and back by more, so that what is newest has the oldest time.
TEST_F(FaultsTest, AClockThatJumpsChangesNothing) {
  if (finish("command -v faketime").exit_code != 0)
    GTEST_SKIP() << "no faketime: scripts/install-dependencies --tests installs it";
  config.training.steps = 1000000;  // as long as it takes to see the first jump
  config.lr_scheduler.decay = ScheduleKind::constant;
  write_config();
  const auto start_with_clock = [&] {
    const std::string program = fmt::format(
        "FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE={0}/clock "
        "LD_PRELOAD=$(faketime -f +0 printenv LD_PRELOAD) exec {1} train {0}/config.yaml --run "
        "{0}/broken",
        folder.path().string(), kHeadgate);
    return Child({"/bin/sh", "-c", program}, folder / "broken.log");
  };
  write_file(folder / "clock", "+0\n");
  Child first = start_with_clock();
  wait_for_checkpoint(first, "broken");
  write_file(folder / "clock", "+400d\n");
  const auto jumped = [&] {
    return rows("broken", "train").back().at("time") >
           static_cast<double>(std::time(nullptr)) + 1e7;
  };
  while (first.running() && !jumped()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  first.send(SIGTERM);
  ASSERT_EQ(first.wait(), 0) << first.output();
  EXPECT_TRUE(jumped());
  config.training.steps = rows("broken", "train").back().at("step").get<std::int64_t>() + 20;
  write_config();
  ASSERT_EQ(start("whole").wait(), 0);
  write_file(folder / "clock", "-400d\n");
  Child last = start_with_clock();
  ASSERT_EQ(last.wait(), 0) << last.output();
  EXPECT_LT(rows("broken", "train").back().at("time"),
            static_cast<double>(std::time(nullptr)) - 1e7);
  expect_same_run("whole", "broken");
}

TEST_F(FaultsTest, ASignalToOneRankStopsAll) {
  need_mpirun();
  if (IsSkipped()) return;
  config.training.steps = 1000000;
  write_config();
  Child child = start_ranks(2, "run");
  wait_for_checkpoint(child, "run");
  const pid_t second = rank_pid(1);
  ASSERT_GT(second, 0) << child.output();
  ::kill(second, SIGUSR1);
  EXPECT_EQ(child.wait(), 0) << child.output();
  EXPECT_THAT(child.output(), HasSubstr("the same command continues"));
}

TEST_F(FaultsTest, TheSecondSignalEndsAtOnce) {
  config.training.steps = 1000000;
  write_config();
  Child child = start("run");
  wait_for_checkpoint(child, "run");
  child.send(SIGSTOP);  // so that it meets both
  child.send(SIGTERM);
  child.send(SIGINT);
  child.send(SIGCONT);
  const int code = child.wait();
  EXPECT_TRUE(code == 128 + SIGTERM || code == 128 + SIGINT) << code << "\n" << child.output();
  EXPECT_TRUE(newest_checkpoint(folder / "run" / "checkpoints", Inspect::all));
}

TEST_F(FaultsTest, ATimeLimitSavesAndEnds) {
  config.training.steps = 1000000;
  config.training.time_limit = 1e-6;
  write_config();
  Child child = start("run");
  EXPECT_EQ(child.wait(), 0) << child.output();
  EXPECT_EQ(rows("run", "train").size(), 1U);
  EXPECT_TRUE(fs::exists(checkpoint("run", "step-00000001")));
}

TEST_F(FaultsTest, OneFolderOneRun) {
  config.training.steps = 1000000;
  write_config();
  Child first = start("run");
  wait_for_checkpoint(first, "run");
  Child second(command("run"), folder / "second.log");
  EXPECT_EQ(second.wait(), 4);
  EXPECT_THAT(second.output(), HasSubstr("another run is at work in this folder: process "));
  EXPECT_TRUE(first.running());
}

/// A file system of so many bytes, until it is destroyed; the test is skipped where the system
/// lets nobody mount one.
class SmallDisk {
 public:
  SmallDisk(const fs::path& path, int kib) : path_(path) {
    fs::create_directories(path_);
    mounted_ =
        ::mount("none", path_.c_str(), "tmpfs", 0, fmt::format("size={}k", kib).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  bool remount(unsigned long flags, int kib) const {
    return ::mount("none", path_.c_str(), "tmpfs", MS_REMOUNT | flags,
                   fmt::format("size={}k", kib).c_str()) == 0;
  }

 private:
  fs::path path_;
  bool mounted_;
};

TEST_F(FaultsTest, AFullDiskCostsNoCheckpoint) {
  const fs::path run = folder / "disk" / "run";
  config.training.steps = 30;
  config.checkpoint.keep = 9;
  write_config();
  ASSERT_EQ(start("whole").wait(), 0);
  const auto on_disk = [&](const char* log) {
    return Child({kHeadgate, "train", folder / "config.yaml", "--run", run}, folder / log);
  };
  // A checkpoint takes more than 400 KiB. Where rows of metrics lie on the same disk, one of them
  // may be what finds it full, while the checkpoint is being written.
  for (const fs::path& full : {run / "checkpoints", folder / "disk"}) {
    SCOPED_TRACE(full);
    const SmallDisk disk(full, 1400);
    if (!disk.mounted()) GTEST_SKIP() << "this system mounts no file system for tests";
    Child child = on_disk("full.log");
    EXPECT_EQ(child.wait(), 1) << child.output();
    EXPECT_THAT(child.output(), HasSubstr("No space left on device"));
    EXPECT_THAT(
        child.output(),
        HasSubstr(full == folder / "disk" ? "disk/run/" : "disk/run/checkpoints/unfinished-step-"));
    const auto left = list_checkpoints(run / "checkpoints");
    EXPECT_GE(left.size(), 1U);
    for (const fs::path& checkpoint : left)
      EXPECT_NO_THROW(inspect_checkpoint(checkpoint, Inspect::all));
    for (const auto& entry : fs::directory_iterator(run / "checkpoints"))
      EXPECT_FALSE(entry.path().filename().string().starts_with("unfinished")) << entry.path();

    ASSERT_TRUE(disk.remount(0, 20000));
    Child again = on_disk("again.log");
    EXPECT_EQ(again.wait(), 0) << again.output();
    EXPECT_EQ(saved(run / "checkpoints" / "step-00000030", "model"),
              weights("whole", "step-00000030"));
  }
}

TEST_F(FaultsTest, AReadOnlyDiskIsNamed) {
  const SmallDisk disk(folder / "disk", 4000);
  if (!disk.mounted() || !disk.remount(MS_RDONLY, 4000))
    GTEST_SKIP() << "this system mounts no file system for tests";
  write_config();
  Child child({kHeadgate, "train", folder / "config.yaml", "--run", folder / "disk" / "run"},
              folder / "log");
  EXPECT_EQ(child.wait(), 1);
  EXPECT_THAT(child.output(), HasSubstr("Read-only file system"));
}

}  // namespace
}  // namespace hg::test
