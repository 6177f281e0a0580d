// Steps of runs again: what repeats is told from what does not.
#include "train/guard/replay.h"

#include <gmock/gmock.h>

#include "support/guard_run.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using Outcome = Replay::Outcome;

class ReplayTest : public GuardRun {
 protected:
  Replay replay_of(const std::string& name, std::int64_t step) const {
    Replay result;
    run_ranks(ranks, [&](Comm& world) {
      const Replay found = replay({.folder = folder / name, .step = step, .world = &world});
      if (world.rank() == 0) result = found;
    });
    return result;
  }
  void make_every_step_a_spike() {
    edit_state(checkpoint("base", "step-00000006"), [](auto& state) {
      for (auto& loss : state.at("guard").at("recent_losses")) loss = 0.1;
    });
  }
  std::map<std::string, std::string> files(const std::string& name) const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder / name))
      if (entry.is_regular_file()) found[entry.path().string()] = read_file(entry.path());
    return found;
  }
  /// Adds to the recorded loss of a step.
  void change_loss(const std::string& name, std::int64_t step) const {
    const fs::path path = folder / name / "metrics.jsonl";
    std::string edited;
    for (auto& row : lines(name, "metrics.jsonl")) {
      if (row.at("kind") == "train" && row.at("step") == step) {
        double& loss = row["loss_metrics/global_avg_loss"].get_ref<double&>();
        loss = std::nextafter(loss, 9.0);
      }
      edited += row.dump() + "\n";
    }
    write_file(path, edited);
  }
  std::string error_of_replay(const std::string& name, std::int64_t step) const {
    try {
      replay_of(name, step);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

TEST_F(ReplayTest, BeginsWithTheWeightsThatTheRunBeganWith) {
  make_base();
  config.checkpoint.init_from = (folder / "base").string();
  config.checkpoint.interval = 0;
  config.training.steps = 3;
  hashes_of("run", {.times = 0}, 0);
  const Replay found = replay_of("run", 2);
  EXPECT_EQ(found.record.start, 0);
  EXPECT_EQ(found.outcome(), Outcome::repeats) << found.sentence();
}

TEST_F(ReplayTest, AHealthyStepRepeatsAndNothingIsWritten) {
  make_base();
  run_with("run", {.times = 0});
  const auto before = files("run");
  const Replay found = replay_of("run", 12);
  EXPECT_EQ(found.outcome(), Outcome::repeats);
  EXPECT_THAT(found.sentence(), HasSubstr("repeats bit for bit"));
  EXPECT_EQ(found.record.file, "metrics.jsonl");
  EXPECT_EQ(found.record.start, 9);
  EXPECT_EQ(found.agree, 2);
  EXPECT_EQ(found.first_other, 0);
  EXPECT_EQ(found.last_sample, 47);
  EXPECT_FALSE(found.documents.empty());
  EXPECT_EQ(files("run"), before);

  change_loss("run", 12);
  const Replay other = replay_of("run", 12);
  EXPECT_EQ(other.outcome(), Outcome::not_recorded);
  EXPECT_THAT(other.sentence(), HasSubstr("the 2 recorded steps before it do repeat"));
  change_loss("run", 10);
  const Replay early = replay_of("run", 12);
  EXPECT_EQ(early.first_other, 10);
  EXPECT_EQ(early.agree, 1);
  EXPECT_THAT(early.sentence(), HasSubstr("step 10 is already another"));
}

TEST_F(ReplayTest, AStepOfFourRanksRepeatsOnFour) {
  use_four_ranks();
  make_base();
  run_with("run", {.times = 0});
  const Replay found = replay_of("run", 11);
  EXPECT_EQ(found.outcome(), Outcome::repeats);
  EXPECT_EQ(found.agree, 1);
}

TEST_F(ReplayTest, BeginsWithTheInitialWeights) {
  make_base();
  const Replay found = replay_of("base", 3);
  EXPECT_EQ(found.outcome(), Outcome::repeats);
  EXPECT_TRUE(found.record.checkpoint.empty());
  EXPECT_EQ(found.agree, 2);
}

TEST_F(ReplayTest, AFaultOfTheMomentDoesNotRepeat) {
  make_base();
  config.guard.not_finite = NotFinitePolicy::skip_update;
  run_with("run", {});
  const Replay found = replay_of("run", 11);
  EXPECT_EQ(found.outcome(), Outcome::not_recorded);
  EXPECT_EQ(found.record.file, "events.jsonl");
  EXPECT_EQ(found.record.kind, "not_finite");
  EXPECT_TRUE(std::isfinite(found.first.grad_norm));
  EXPECT_EQ(found.first.loss, found.recorded.loss);  // the forward pass was well
  EXPECT_EQ(found.agree, 1);
  EXPECT_THAT(found.sentence(), HasSubstr("suspect the hardware"));
}

TEST_F(ReplayTest, WhatTheDataDoRepeatsBehindRewinds) {
  make_base();
  make_every_step_a_spike();
  config.guard.spike = SpikePolicy::rewind_and_skip;
  config.guard.max_rewinds = 2;
  EXPECT_THAT(error_with("run", {.times = 0}), HasSubstr("guard.max_rewinds"));
  const Replay found = replay_of("run", 7);
  EXPECT_EQ(found.outcome(), Outcome::repeats);
  EXPECT_EQ(found.record.first_sample, 32);  // passed over: 24 to 27, and 28 to 31
  EXPECT_EQ(found.record.checkpoint.filename(), "step-00000006");
}

TEST_F(ReplayTest, SkipsWhatTheRunSkipped) {
  make_base();
  config.guard.spike = SpikePolicy::skip_update;
  config.training.steps = 9;
  make_every_step_a_spike();
  run_with("run", {.times = 0});
  fs::remove_all(checkpoint("run", "step-00000009"));
  const Replay found = replay_of("run", 9);
  EXPECT_EQ(found.outcome(), Outcome::repeats);
  EXPECT_EQ(found.agree, 2);
}

TEST_F(ReplayTest, NamesWhatIsMissing) {
  make_base();
  EXPECT_THAT(error_of_replay("base", 7),
              HasSubstr("neither metrics.jsonl nor events.jsonl has a step 7"));
  EXPECT_THAT(error_of_replay("nowhere", 7), HasSubstr("nowhere/config.yaml"));
  run_with("run", {.fault = Fault::spike});
  fs::remove_all(checkpoint("run", "step-00000009"));
  EXPECT_THAT(error_of_replay("run", 11), HasSubstr("step-00000009: is gone"));
}

TEST(ReplayOutcome, ReplaysThatDifferAreNoCauseToTrustTheRecord) {
  Replay found;
  found.recorded = found.first = {.loss = 2, .grad_norm = 1};
  found.second = {.loss = 2, .grad_norm = std::nextafter(1, 2)};
  EXPECT_EQ(found.outcome(), Outcome::differs);
  EXPECT_THAT(found.sentence(), HasSubstr("differ from each other"));
  found.second = found.first;
  EXPECT_EQ(found.outcome(), Outcome::repeats);
}

}  // namespace
}  // namespace hg::test
