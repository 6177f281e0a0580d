#include "train/schedule.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace hg::test {
namespace {

LrSchedule schedule(ScheduleKind kind) {
  return {.kind = kind,
          .peak = 3e-4,
          .floor = 3e-5,
          .warmup_steps = 4,
          .decay_steps = kind == ScheduleKind::wsd ? 5 : 0,
          .total_steps = 20};
}

// transformers 5.23, cosine_warmup_with_min_lr. Its plain cosine schedules, like all others there,
// start at 0: what they give for s + 1 is what an update s has here.
TEST(LrSchedule, CosineIsTransformers) {
  const LrSchedule lr = schedule(ScheduleKind::cosine);
  EXPECT_DOUBLE_EQ(lr.at(0), 7.5e-05);
  EXPECT_DOUBLE_EQ(lr.at(3), 3e-4);
  EXPECT_DOUBLE_EQ(lr.at(4), 0.0002974060128544361);
  EXPECT_DOUBLE_EQ(lr.at(11), 0.000165);
  EXPECT_DOUBLE_EQ(lr.at(18), 3.259398714556389e-05);
  EXPECT_DOUBLE_EQ(lr.at(19), 3e-5);
}

// torch 2.15, CosineAnnealingLR(T_max=20, eta_min=3e-5), one step later.
TEST(LrSchedule, CosineWithoutWarmupIsTorchs) {
  LrSchedule lr = schedule(ScheduleKind::cosine);
  lr.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(lr.at(0), 0.0002983379259803436);
  EXPECT_DOUBLE_EQ(lr.at(9), 0.000165);
  EXPECT_DOUBLE_EQ(lr.at(18), 3.166207401965642e-05);
}

// transformers' get_linear_schedule_with_warmup, one step later; it knows no floor.
TEST(LrSchedule, LinearIsTransformers) {
  LrSchedule lr = schedule(ScheduleKind::linear);
  lr.floor = 0;
  EXPECT_DOUBLE_EQ(lr.at(4), 0.00028125);
  EXPECT_DOUBLE_EQ(lr.at(11), 0.00015);
  EXPECT_DOUBLE_EQ(lr.at(18), 1.875e-05);
  EXPECT_EQ(lr.at(19), 0);
}

// transformers' get_wsd_schedule(decay_type="linear"), one step later. Its warm-up starts at the
// floor, ours at 0.
TEST(LrSchedule, WsdIsTransformersAfterWarmup) {
  const LrSchedule lr = schedule(ScheduleKind::wsd);
  EXPECT_DOUBLE_EQ(lr.at(0), 7.5e-05);
  for (const std::int64_t step : {3, 4, 14}) EXPECT_EQ(lr.at(step), 3e-4);
  EXPECT_DOUBLE_EQ(lr.at(15), 0.000246);
  EXPECT_DOUBLE_EQ(lr.at(18), 8.4e-05);
  EXPECT_DOUBLE_EQ(lr.at(19), 3e-05);
}

TEST(LrSchedule, EndsAreExact) {
  for (const auto kind : {ScheduleKind::cosine, ScheduleKind::linear, ScheduleKind::wsd}) {
    const LrSchedule lr = schedule(kind);
    EXPECT_EQ(lr.at(3), lr.peak);
    EXPECT_EQ(lr.at(19), lr.floor);
    EXPECT_EQ(lr.at(1000), lr.floor);
    for (std::int64_t step = 4; step < 20; ++step) EXPECT_LE(lr.at(step), lr.at(step - 1));
  }
  const LrSchedule constant = schedule(ScheduleKind::constant);
  EXPECT_LT(constant.at(2), constant.peak);
  for (const std::int64_t step : {3, 4, 19, 1000}) EXPECT_EQ(constant.at(step), constant.peak);
}

TEST(LrSchedule, ARunOfWarmupOnlyEndsAtThePeak) {
  LrSchedule lr = schedule(ScheduleKind::cosine);
  lr.warmup_steps = 20;
  lr.check();
  EXPECT_EQ(lr.at(19), lr.peak);
  EXPECT_EQ(lr.at(20), lr.peak);
}

TEST(LrSchedule, NumbersThatDoNotFitAreErrors) {
  const auto broken = [](auto&& change) {
    LrSchedule lr = schedule(ScheduleKind::wsd);
    lr.check();
    change(lr);
    EXPECT_THROW(lr.check(), Error);
  };
  broken([](LrSchedule& lr) { lr.peak = 0; });
  broken([](LrSchedule& lr) { lr.floor = 1; });
  broken([](LrSchedule& lr) { lr.floor = -1; });
  broken([](LrSchedule& lr) { lr.total_steps = 0; });
  broken([](LrSchedule& lr) { lr.decay_steps = 0; });
  broken([](LrSchedule& lr) { lr.decay_steps = 17; });
}

}  // namespace
}  // namespace hg::test
