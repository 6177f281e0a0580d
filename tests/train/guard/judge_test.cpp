// Verdicts on steps, one rule at a time.
#include "train/guard/judge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

namespace hg {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A state behind 100 quiet losses around 2.
GuardState quiet_state() {
  GuardState state;
  for (int i = 0; i < 100; ++i) judge({}, state, 2 + 0.01 * std::sin(static_cast<double>(i)), 1);
  return state;
}

TEST(Judge, SeesWhatIsNotFinite) {
  for (const auto& [loss, norm] :
       {std::pair{kNan, 1.0}, {kInfinity, 1.0}, {2.0, kNan}, {2.0, kInfinity}}) {
    GuardState state;
    const Verdict verdict = judge({}, state, loss, norm);
    EXPECT_EQ(verdict.bad, BadStep::not_finite);
    EXPECT_EQ(verdict.action, Action::stop);
    EXPECT_TRUE(state.recent_losses.empty());
  }
  GuardState state;
  EXPECT_EQ(judge({}, state, 2, 1).bad, BadStep::none);
}

TEST(Judge, SeesSpikesBehindTheBurnIn) {
  GuardState state;
  for (int i = 0; i < 99; ++i) judge({}, state, 2 + 0.01 * std::sin(static_cast<double>(i)), 1);
  GuardState early = state;
  EXPECT_EQ(judge({}, early, 20, 1).bad, BadStep::none);
  judge({}, state, 2, 1);
  const Verdict verdict = judge({}, state, 20, 1);
  EXPECT_EQ(verdict.bad, BadStep::spike);
  EXPECT_EQ(verdict.action, Action::update);  // logged only
  EXPECT_NEAR(verdict.median, 2, 0.01);
  EXPECT_GT(verdict.z, 100);
  // A sudden fall is none, and what has no logarithm is passed over.
  for (const double loss : {1.0, 0.0, -1.0}) {
    GuardState other = quiet_state();
    EXPECT_EQ(judge({}, other, loss, 1).bad, BadStep::none) << loss;
  }
}

TEST(Judge, TheThresholdIsTheConfigs) {
  const Verdict at = [&] {
    GuardState state = quiet_state();
    return judge({}, state, 2.05, 1);
  }();
  for (const double factor : {0.99, 1.01}) {
    GuardState state = quiet_state();
    GuardConfig config;
    config.spike_z = at.z * factor;
    EXPECT_EQ(judge(config, state, 2.05, 1).bad == BadStep::spike, factor < 1);
  }
}

TEST(Judge, WhatWasSkippedIsNoLoss) {
  GuardConfig config;
  config.spike = SpikePolicy::skip_update;
  config.max_skips = 3;
  GuardState state = quiet_state();
  const auto before = state.recent_losses;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(judge(config, state, 20, 1).action, Action::skip_update);
  EXPECT_EQ(state.recent_losses, before);
  const Verdict last = judge(config, state, 20, 1);
  EXPECT_EQ(last.action, Action::stop);
  EXPECT_NE(last.why_stop.find("3 updates in a row"), std::string::npos);
  // A good step between them begins the count anew.
  GuardState other = quiet_state();
  for (int i = 0; i < 9; ++i)
    EXPECT_NE(judge(config, other, i % 3 == 2 ? 2 : 20, 1).action, Action::stop);
}

TEST(Judge, ANewLevelBecomesNormal) {
  GuardState state = quiet_state();
  int logged = 0;
  for (int i = 0; i < 100; ++i)
    logged +=
        judge({}, state, 3 + 0.01 * std::sin(static_cast<double>(i)), 1).bad == BadStep::spike;
  EXPECT_GT(logged, 10);
  EXPECT_LT(logged, 51);
}

TEST(Judge, CooldownOnlyLogs) {
  GuardConfig config;
  config.spike = SpikePolicy::rewind_and_skip;
  config.not_finite = NotFinitePolicy::skip_update;
  config.cooldown = 2;
  GuardState state = quiet_state();
  EXPECT_EQ(judge(config, state, 20, 1).action, Action::rewind);
  EXPECT_EQ(state.rewinds, 1);
  EXPECT_EQ(judge(config, state, 20, 1).action, Action::update);
  EXPECT_EQ(judge(config, state, kNan, 1).action, Action::skip_update);  // never waits
  for (int i = 0; i < 2; ++i) {
    const Verdict verdict = judge(config, state, 20, 1);
    EXPECT_EQ(verdict.bad, BadStep::spike);
    EXPECT_EQ(verdict.action, Action::update);
  }
  EXPECT_EQ(judge(config, state, 20, 1).action, Action::rewind);
}

TEST(Judge, ACheckpointKeepsItsState) {
  GuardState state = quiet_state();
  state.cooldown = 3;
  state.skipped = 2;
  state.rewinds = 1;
  const auto text = to_json(state).dump();
  const GuardState back = guard_state_of(nlohmann::json::parse(text));
  EXPECT_EQ(back.recent_losses, state.recent_losses);
  EXPECT_EQ(back.cooldown, 3);
  EXPECT_EQ(back.skipped, 2);
  EXPECT_EQ(back.rewinds, 0);
}

}  // namespace
}  // namespace hg
