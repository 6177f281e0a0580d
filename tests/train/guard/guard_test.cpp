// The guard in whole runs: every policy does what its name says about every fault, alone and on
// four ranks, and no rank differs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/run_ranks.h"
#include "support/faults.h"
#include "support/small_run.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using Hashes = std::vector<StateHashes::Entry>;

/// Runs that begin at step 6 with a history of 100 losses, save at 9, meet a fault in step 11 and
/// end with step 12.
class GuardRun : public SmallRun {
 protected:
  static constexpr std::int64_t kFaultyStep = 11;

  GuardRun() {
    config.model.vocab_size = 260;
    config.training.micro_batch_size = 1;
    config.training.seq_len = 24;
    config.training.replica_check_interval = 1;
    config.lr_scheduler.decay = ScheduleKind::constant;
    config.metrics.instrument_interval = config.metrics.details_interval = 1;
    config.data.validation.clear();
    config.checkpoint.interval = 6;
    config.training.steps = 6;
  }

  void use_four_ranks() {
    ranks = 4;
    config.parallelism.tensor = 2;
    config.parallelism.zero_stage = 1;
  }

  /// The common beginning.
  void make_base() {
    hashes_of("base", {}, 0);
    const fs::path path = checkpoint("base", "step-00000006") / "state.json";
    auto state = nlohmann::json::parse(read_file(path));
    EXPECT_EQ(state.at("guard").at("recent_losses").size(), 6U);
    state["guard"]["recent_losses"].clear();
    for (int i = 0; i < 100; ++i) state["guard"]["recent_losses"].push_back(5.5 + 0.002 * (i % 9));
    write_file(path, state.dump());
    config.checkpoint.interval = 3;
    config.training.steps = 12;
  }

  /// Continues the base as `name`, with a fault; returns what each rank held behind its steps.
  std::vector<Hashes> run_with(const std::string& name, const FaultHook::Options& fault) {
    fs::create_directories(folder / name);
    fs::copy(folder / "base" / "checkpoints", folder / name / "checkpoints",
             fs::copy_options::recursive);
    return hashes_of(name, fault, kFaultyStep);
  }

  std::vector<Hashes> hashes_of(const std::string& name, FaultHook::Options fault,
                                std::int64_t step) {
    if (fault.step == 0) fault.step = step;
    std::vector<Hashes> hashes(static_cast<std::size_t>(ranks));
    const std::string resolved = to_yaml(config);
    run_ranks(ranks, [&](Comm& world) {
      train(config, {.folder = folder / name,
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world,
                     .prepare = [&](Trainer& trainer) {
                       trainer.add(std::make_unique<FaultHook>(fault));
                       trainer.add(std::make_unique<StateHashes>(
                           hashes[static_cast<std::size_t>(world.rank())]));
                     }});
    });
    return hashes;
  }
  std::string error_with(const std::string& name, const FaultHook::Options& fault) {
    try {
      run_with(name, fault);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  std::vector<nlohmann::json> lines(const std::string& name, const char* file) const {
    std::vector<nlohmann::json> found;
    std::ifstream in(folder / name / file);
    for (std::string line; std::getline(in, line);) found.push_back(nlohmann::json::parse(line));
    return found;
  }
  /// Every step from `first` on is there once, in metrics.jsonl and in instruments.jsonl.
  void expect_steps_once(const std::string& name, std::int64_t first) const {
    for (const auto& steps : {rows(name, "train"), lines(name, "instruments.jsonl")}) {
      ASSERT_EQ(std::ssize(steps), config.training.steps - first + 1);
      for (std::size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i].at("step"), first + i);
    }
  }

  int ranks = 1;
};

struct Case {
  Fault fault;
  int ranks;
};

std::string name_of_case(const testing::TestParamInfo<Case>& one) {
  constexpr const char* kFaults[] = {"NanGradient", "Spike", "FlippedBit"};
  return fmt::format("{}On{}", kFaults[static_cast<int>(one.param.fault)], one.param.ranks);
}

class GuardTest : public GuardRun, public testing::WithParamInterface<Case> {
 protected:
  GuardTest() {
    if (GetParam().ranks == 4) use_four_ranks();
    make_base();
  }
  void check_event(const nlohmann::json& event, const char* action) const {
    EXPECT_EQ(event.at("step"), kFaultyStep);
    EXPECT_EQ(event.at("action"), action);
    EXPECT_EQ(event.at("checkpoint"), "step-00000009");
    EXPECT_EQ(event.at("first_sample"), 40);
    EXPECT_EQ(event.at("last_sample"), 43);
    EXPECT_EQ(event.at("kind"), spikes() ? "spike" : "not_finite");
    EXPECT_EQ(event.at("z").is_number(), GetParam().fault != Fault::flipped_bit);
    EXPECT_EQ(event.at("grad_norm").is_null(), !spikes());
    EXPECT_EQ(event.at("grad_norms").size(), 4U);  // embedding, two layers, head
    const std::int64_t sample = event.at("worst_sample");
    EXPECT_TRUE(40 <= sample && sample <= 43);
    ASSERT_FALSE(event.at("documents").empty());
    EXPECT_EQ(event.at("documents")[0].at("sample"), sample);
    EXPECT_EQ(event.at("documents")[0].at("text").get<std::string>().find_first_not_of(
                  "0123456789 andmake."),
              std::string::npos);
  }
  bool spikes() const { return GetParam().fault == Fault::spike; }
};

TEST_P(GuardTest, StopsOrLogs) {
  if (spikes()) {
    const auto hashes = run_with("run", {.fault = GetParam().fault});
    for (const Hashes& rank : hashes) EXPECT_NE(rank[3].hash, rank[4].hash);  // it learned from it
    check_event(lines("run", "events.jsonl").at(0), "update");
    EXPECT_FALSE(rows("run", "train")[4].contains("guard/update_skipped"));
    EXPECT_THAT(rows("run", "event")[0].at("bad step").get<std::string>(), HasSubstr("a spike, z"));
  } else {
    EXPECT_THAT(error_with("run", {.fault = GetParam().fault}),
                HasSubstr("not finite; stopped before the optimizer step. Samples 40 to 43 of"));
    check_event(lines("run", "events.jsonl").at(0), "stop");
    EXPECT_EQ(rows("run", "train").back().at("step"), kFaultyStep - 1);
  }
  EXPECT_EQ(lines("run", "events.jsonl").size(), 1U);
}

TEST_P(GuardTest, SkipsTheUpdate) {
  config.guard.not_finite = NotFinitePolicy::skip_update;
  config.guard.spike = SpikePolicy::skip_update;
  const auto hashes = run_with("run", {.fault = GetParam().fault});
  const bool stays = GetParam().fault == Fault::flipped_bit;  // nothing has mended the weights
  for (const Hashes& rank : hashes) {
    ASSERT_EQ(rank.size(), 6U);
    EXPECT_EQ(rank[4].step, kFaultyStep);
    EXPECT_NE(rank[2].hash, rank[3].hash);
    EXPECT_EQ(rank[3].hash == rank[4].hash, !stays);  // there the fault itself is the difference
    EXPECT_EQ(rank[4].hash == rank[5].hash, stays);
  }
  const auto events = lines("run", "events.jsonl");
  ASSERT_EQ(events.size(), stays ? 2U : 1U);
  check_event(events[0], "skip_update");
  expect_steps_once("run", 7);
  const auto steps = rows("run", "train");
  for (const auto& row : steps)
    EXPECT_EQ(row.contains("guard/update_skipped"),
              row.at("step") == 11 || (stays && row.at("step") == 12));
  EXPECT_EQ(steps.back().at("tokens"), 12 * 4 * 24);
  const auto looks = rows("run", "instruments");
  EXPECT_TRUE(looks[3].contains("update_ratio/attention"));
  EXPECT_FALSE(looks[4].contains("update_ratio/attention"));
}

TEST_P(GuardTest, GoesBackAndPassesTheBatchOver) {
  config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
  config.guard.spike = SpikePolicy::rewind_and_skip;
  // The other ranks are well.
  const auto hashes = run_with("run", {.fault = GetParam().fault, .rank = ranks - 1});
  check_event(lines("run", "events.jsonl").at(0), "rewind");
  EXPECT_EQ(lines("run", "events.jsonl").size(), 1U);
  expect_steps_once("run", 7);
  // Step 10 behind the rewind takes the samples behind those of step 11.
  EXPECT_EQ(rows("run", "train")[3].at("tokens"), 12 * 4 * 24);
  const auto event = rows("run", "event")[1];  // behind that of the checkpoint
  EXPECT_THAT(event.at("bad step").get<std::string>(),
              HasSubstr("back to step 9, on with sample 44"));

  // The same by hand: step 9 with the samples moved on.
  fs::create_directories(folder / "moved" / "checkpoints");
  fs::copy(checkpoint("run", "step-00000009"), checkpoint("moved", "step-00000009"),
           fs::copy_options::recursive);
  const fs::path path = checkpoint("moved", "step-00000009") / "state.json";
  auto state = nlohmann::json::parse(read_file(path));
  EXPECT_EQ(state.at("samples"), 36);
  state["samples"] = 44;
  state["tokens"] = 44 * 24;
  write_file(path, state.dump());
  const auto moved = hashes_of("moved", {}, -1);
  for (std::size_t rank = 0; rank < moved.size(); ++rank) {
    ASSERT_EQ(hashes[rank].size(), 4U + 3U);                // 7 to 10, and again 10 to 12
    EXPECT_NE(hashes[rank][3].hash, hashes[rank][4].hash);  // step 10 with other samples
    EXPECT_EQ(Hashes(hashes[rank].begin() + 4, hashes[rank].end()), moved[rank]);
  }
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(read_file(checkpoint("run", "step-00000012") / file),
              read_file(checkpoint("moved", "step-00000012") / file));
  EXPECT_EQ(nlohmann::json::parse(read_file(checkpoint("run", "step-00000012") / "state.json")),
            nlohmann::json::parse(read_file(checkpoint("moved", "step-00000012") / "state.json")));
}

INSTANTIATE_TEST_SUITE_P(Faults, GuardTest,
                         testing::Values(Case{Fault::nan_gradient, 1}, Case{Fault::nan_gradient, 4},
                                         Case{Fault::spike, 1}, Case{Fault::spike, 4},
                                         Case{Fault::flipped_bit, 1}, Case{Fault::flipped_bit, 4}),
                         name_of_case);

TEST_F(GuardRun, StopsBehindTheLastRewind) {
  make_base();
  config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
  config.guard.max_rewinds = 2;
  EXPECT_THAT(error_with("run", {.times = 9}),
              HasSubstr("the run has gone back 2 times, as guard.max_rewinds allows. Samples 56 to "
                        "59 of the run"));
  const auto events = lines("run", "events.jsonl");
  ASSERT_EQ(events.size(), 3U);
  const char* const actions[] = {"rewind", "rewind", "stop"};
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].at("action"), actions[i]);
    EXPECT_EQ(events[i].at("first_sample"), 40 + 8 * i);  // steps 10 and 11 each time
  }
  // The next process comes from the checkpoint, too, and its line is behind these.
  EXPECT_EQ(hashes_of("run", {.times = 0}, kFaultyStep)[0].size(), 3U);
  EXPECT_EQ(lines("run", "events.jsonl").size(), 3U);
}

TEST_F(GuardRun, StopsBehindTheLastSkip) {
  make_base();
  config.guard.not_finite = NotFinitePolicy::skip_update;
  config.guard.max_skips = 2;
  config.training.steps = 20;
  EXPECT_THAT(error_with("run", {.fault = Fault::flipped_bit}),
              HasSubstr("2 updates in a row were skipped before, as guard.max_skips allows"));
  EXPECT_EQ(lines("run", "events.jsonl").size(), 3U);
  EXPECT_EQ(rows("run", "train").back().at("step"), 12);
}

TEST_F(GuardRun, StopsWhereThereIsNoCheckpoint) {
  config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
  try {
    hashes_of("run", {}, 3);
    FAIL() << "went back to nowhere";
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("there is no checkpoint to go back to yet"));
  }
  EXPECT_EQ(lines("run", "events.jsonl").at(0).at("action"), "stop");
}

TEST_F(GuardRun, NeedsCheckpointsToGoBackTo) {
  config.checkpoint.interval = 0;
  config.guard.spike = SpikePolicy::rewind_and_skip;
  EXPECT_THROW(parse_config<RunConfig>(to_yaml(config), "test"), Error);
  config.checkpoint.interval = 1;
  EXPECT_NO_THROW(parse_config<RunConfig>(to_yaml(config), "test"));
}

}  // namespace
}  // namespace hg::test
