#include "dist/flight_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace hg {
namespace {

using testing::HasSubstr;

CommEvent event_of(std::uint64_t channel, std::string label) {
  return {.kind = CommKind::all_gather,
          .group = "dp",
          .members = std::make_shared<const std::vector<int>>(std::vector{0, 1}),
          .peer = -1,
          .channel = channel,
          .sequence = 0,
          .label = std::move(label),
          .elements = 12,
          .dtype = DType::bf16,
          .entered = {},
          .left = {},
          .finished = false};
}

TEST(FlightRecord, NumbersTheCallsOfEachChannel) {
  FlightRecord record(3);
  record.leave(record.enter(event_of(1, "a")), true);
  record.leave(record.enter(event_of(2, "b")), true);
  const auto id = record.enter(event_of(1, "c"));
  EXPECT_EQ(record.begun(1), 2);
  EXPECT_EQ(record.begun(2), 1);
  EXPECT_EQ(record.begun(3), 0);
  EXPECT_TRUE(record.pending(id));
  ASSERT_TRUE(record.oldest_pending());
  EXPECT_EQ(record.oldest_pending()->second.to_string(), "all_gather #2 of dp (c)");
  EXPECT_THAT(record.where(), HasSubstr("is in all_gather #2 of dp (c) for 0.0 s"));
  record.leave(id, true);
  EXPECT_FALSE(record.oldest_pending());
  EXPECT_THAT(record.where(), HasSubstr("is in no collective and left all_gather #2 of dp (c)"));
}

TEST(FlightRecord, KeepsTheLastOnesAndAllThatArePending) {
  FlightRecord record(0);
  record.enter(event_of(1, "pending"));
  for (std::size_t i = 0; i < FlightRecord::kKept + 10; ++i)
    record.leave(record.enter(event_of(2, std::to_string(i))), true);
  const auto events = record.events();
  ASSERT_EQ(events.size(), FlightRecord::kKept + 1);
  EXPECT_EQ(events.front().label, "10");
  EXPECT_EQ(events.back().label, "pending");
}

TEST(FlightRecord, IsWrittenAsJson) {
  FlightRecord record(3);
  record.leave(record.enter(event_of(1, "layers.0 \"weights\"\xff")), false);
  CommEvent message = event_of(2, "");
  message.kind = CommKind::send;
  message.peer = 1;
  record.enter(message);
  const auto json = nlohmann::json::parse(record.to_json("why"));
  EXPECT_EQ(json["rank"], 3);
  EXPECT_EQ(json["reason"], "why");
  ASSERT_EQ(json["events"].size(), 2U);
  const auto &first = json["events"][0], &second = json["events"][1];
  EXPECT_EQ(first["kind"], "all_gather");
  EXPECT_EQ(first["state"], "failed");
  EXPECT_EQ(first["sequence"], 1);
  EXPECT_EQ(first["elements"], 12);
  EXPECT_EQ(first["dtype"], "bf16");
  EXPECT_LE(first["entered"].get<double>(), first["left"].get<double>());
  EXPECT_NEAR(first["entered"].get<double>(), json["time"].get<double>(), 60);
  EXPECT_FALSE(first.contains("peer"));
  EXPECT_EQ(second["state"], "pending");
  EXPECT_EQ(second["peer"], 1);
  EXPECT_FALSE(second.contains("left"));
}

TEST(ChannelOf, TellsGroupsAndDirectionsApart) {
  const std::vector<int> members = {0, 1};
  EXPECT_EQ(channel_of("dp", members), channel_of("dp", members));
  EXPECT_NE(channel_of("dp", members), channel_of("tp", members));
  EXPECT_NE(channel_of("dp", members), channel_of("dp", {0, 2}));
  EXPECT_NE(channel_of("dp", members, 0, 1), channel_of("dp", members, 1, 0));
}

}  // namespace
}  // namespace hg
