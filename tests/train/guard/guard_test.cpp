// The guard in whole runs: every policy does what its name says about every fault, alone and on
// four ranks, and no rank differs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/guard_run.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
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
    EXPECT_THAT(bad_step_event("run"), HasSubstr("a spike, z"));
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
    if (!stays) {  // else the fault itself is a difference
      EXPECT_EQ(rank[3].hash, rank[4].hash);
    }
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
  EXPECT_THAT(bad_step_event("run"), HasSubstr("back to step 9, on with sample 44"));

  for (const Hashes& rank : hashes) {
    ASSERT_EQ(rank.size(), 4U + 3U);        // 7 to 10, and again 10 to 12
    EXPECT_NE(rank[3].hash, rank[4].hash);  // step 10 with other samples
  }
  expect_as_moved("run", hashes);
}

INSTANTIATE_TEST_SUITE_P(Faults, GuardTest,
                         testing::Values(Case{Fault::nan_gradient, 1}, Case{Fault::nan_gradient, 4},
                                         Case{Fault::spike, 1}, Case{Fault::spike, 4},
                                         Case{Fault::flipped_bit, 1}, Case{Fault::flipped_bit, 4}),
                         name_of_case);

/// What else ranks may share.
TEST_F(GuardRun, GoesBackWithShardedWeightsAndExperts) {
  use_four_ranks();
  config.parallelism = {.data = 4, .expert = 2, .zero_stage = 3, .sequence_parallel = false};
  config.training.precision = Precision::bf16;
  config.model.moe.num_experts = 4;
  config.model.moe.top_k = 2;
  config.model.moe.expert_intermediate_size = 24;
  config.model.moe.score = RouterScore::sigmoid;
  config.model.moe.bias_update_rate = 1e-2;  // whose bias is no parameter
  make_base();
  config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
  expect_as_moved("run", run_with("run", {.rank = 1}));
}

TEST_F(GuardRun, GoesBackOnPipelineStages) {
  use_four_ranks();
  config.parallelism = {.pipeline = 2, .data = 2, .zero_stage = 1, .sequence_parallel = false};
  make_base();
  config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
  expect_as_moved("run", run_with("run", {.rank = 3}));
  const auto norms = lines("run", "events.jsonl").at(0).at("grad_norms");
  EXPECT_EQ(norms.size(), 4U);  // of all stages
  EXPECT_TRUE(norms.at("embedding").is_number() || norms.at("head").is_number());
}

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

/// Runs that have learned something, so that other samples have other losses.
class RestartedGuardRun : public GuardRun {
 protected:
  RestartedGuardRun() {
    config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
    config.guard.max_rewinds = 1;
    config.metrics.instrument_interval = 0;
    config.checkpoint.interval = 60;
    config.training.steps = 70;
  }
  std::vector<std::string> resumed(const std::string& name) const {
    std::vector<std::string> found;
    for (const auto& row : rows(name, "event"))
      if (row.contains("resumed")) found.push_back(row.at("resumed"));
    return found;
  }
};

TEST_F(RestartedGuardRun, IsNotComparedWithOtherSamples) {
  EXPECT_THROW(hashes_of("run", {.step = 68, .times = 2}, 0), Error);
  const auto behind = rows("run", "train");
  const double other = behind.at(60).at("loss_metrics/global_avg_loss");
  EXPECT_EQ(hashes_of("run", {.times = 0}, 0)[0].size(), 10U);
  const double loss = rows("run", "train").at(60).at("loss_metrics/global_avg_loss");
  EXPECT_LT(loss, 0.6 * std::log(260.0));
  EXPECT_GT(std::abs(loss / other - 1), 0.01);  // else this would prove nothing
  EXPECT_THAT(resumed("run"), testing::IsEmpty());
}

TEST_F(RestartedGuardRun, ARewindEndsTheComparison) {
  hashes_of("run", {.times = 0}, 0);
  fs::remove_all(checkpoint("run", "step-00000070"));
  hashes_of("run", {.step = 63}, 0);
  EXPECT_EQ(lines("run", "events.jsonl").at(0).at("action"), "rewind");
  EXPECT_THAT(resumed("run"), testing::IsEmpty());
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
