#include "train/looks/router_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_folder.h"
#include "support/token_data.h"
#include "train/metrics/metrics.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

MoeConfig eight_experts() {
  MoeConfig config;
  config.num_experts = 8;
  config.top_k = 2;
  config.aux_loss_coef = 0.001;
  return config;
}
constexpr std::int64_t kTokens = 128;  // 32 choices of each expert, on average

std::vector<NamedValue> layer(int number, double entropy, double dead, double most = 2) {
  return {{fmt::format("moe/max_load/layers.{}", number), most},
          {fmt::format("moe/load_entropy/layers.{}", number), entropy},
          {fmt::format("moe/dead_experts/layers.{}", number), dead}};
}
std::vector<NamedValue> operator+(std::vector<NamedValue> a, const std::vector<NamedValue>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<std::int64_t> layers_of(const std::vector<RoutingAlarm>& alarms) {
  std::vector<std::int64_t> layers;
  for (const RoutingAlarm& alarm : alarms) layers.push_back(alarm.layer);
  return layers;
}

TEST(RouterWatch, AnAlarmIsGivenWhereItBegins) {
  RouterWatch watch(eight_experts(), kTokens);
  EXPECT_THAT(watch.see(layer(1, 0.5, 0) + layer(3, 0.98, 0)), IsEmpty()) << "0.5 is enough";
  const auto alarms = watch.see(layer(1, 0.49, 0) + layer(3, 0.97, 2, 4.5));
  ASSERT_THAT(layers_of(alarms), ElementsAre(1, 3));
  EXPECT_EQ(alarms[0].load_entropy, 0.49);
  EXPECT_EQ(alarms[1].dead_experts, 2);
  EXPECT_EQ(alarms[1].max_load, 4.5);
  EXPECT_THAT(watch.see(layer(1, 0.3, 1) + layer(3, 0.97, 2)), IsEmpty()) << "said before";
  EXPECT_THAT(layers_of(watch.see(layer(1, 0.3, 1) + layer(2, 0.1, 5) + layer(3, 0.9, 0))),
              ElementsAre(2));
}

TEST(RouterWatch, AnAlarmIsOverBehindTenQuietLooks) {
  RouterWatch watch(eight_experts(), kTokens);
  const auto bad = layer(0, 0.4, 0), good = layer(0, 0.9, 0);
  EXPECT_EQ(watch.see(bad).size(), 1U);
  for (int i = 0; i < 9; ++i) EXPECT_THAT(watch.see(good), IsEmpty());
  EXPECT_THAT(watch.see(bad), IsEmpty()) << "it comes and goes";
  for (int i = 0; i < 10; ++i) EXPECT_THAT(watch.see(good), IsEmpty());
  EXPECT_EQ(watch.see(bad).size(), 1U);
}

TEST(RouterWatch, OfFewChoicesDeadExpertsSayNothing) {
  RouterWatch watch(eight_experts(), kTokens - 1);
  EXPECT_THAT(watch.see(layer(0, 0.9, 3)), IsEmpty());
  EXPECT_EQ(watch.see(layer(0, 0.4, 3)).size(), 1U);
}

TEST(RouterWatch, ADenseModelHasNothingToWatch) {
  RouterWatch watch(MoeConfig{}, kTokens);
  EXPECT_THAT(watch.see(std::vector<NamedValue>{{"gate/mean", 0.1}, {"moe/load_entropy", 0}}),
              IsEmpty());
}

TEST(RouterWatch, HistoryMakesItWhatItWas) {
  const TempFolder folder;
  const auto file = folder / "metrics.jsonl";
  RouterWatch(eight_experts(), kTokens).see_history(file);  // none: nothing to take in
  {
    JsonLinesSink sink(file);
    sink.write({.step = 1, .kind = "instruments", .values = layer(0, 0.4, 0) + layer(1, 0.9, 0)});
    sink.write({.step = 2, .kind = "train", .values = {{"lr", 1}}});
    sink.write({.step = 2, .kind = "event", .texts = {{"note", "\"instruments\""}}});
    sink.write({.step = 2, .kind = "instruments", .values = layer(0, 0.9, 0) + layer(1, 0.9, 0)});
  }
  RouterWatch watch(eight_experts(), kTokens);
  watch.see_history(file);
  EXPECT_THAT(layers_of(watch.see(layer(0, 0.4, 0) + layer(1, 0.4, 0))), ElementsAre(1));

  AppendFile(file, AppendFile::Open::create_or_append).write("{\"kind\":\"instruments\",\n");
  EXPECT_THAT(error_of([&] { watch.see_history(file); }), HasSubstr("metrics.jsonl:5: expected"));
}

TEST(RoutingAlarms, AreDescribedWithTheKeysThatAct) {
  std::vector<RoutingAlarm> alarms = {{3, 0.4123, 9.1, 2}};
  EXPECT_EQ(describe(alarms, eight_experts()),
            "layer 3: load entropy 0.412, 2 of 8 experts dead, the busiest at 9.10 times the mean "
            "load. What acts on it: model.moe.aux_loss_coef (now 0.001), "
            "model.moe.bias_update_rate (now 0)");
  for (int i = 4; i < 10; ++i) alarms.push_back({i, 0.1, 8, 6});
  const std::string text = describe(alarms, eight_experts());
  EXPECT_THAT(text, HasSubstr("layer 3: "));
  EXPECT_THAT(text, HasSubstr("; layer 6: "));
  EXPECT_THAT(text, testing::Not(HasSubstr("layer 7: ")));
  EXPECT_THAT(text, HasSubstr("; and 3 more layers. What"));
}

}  // namespace
}  // namespace hg::test
