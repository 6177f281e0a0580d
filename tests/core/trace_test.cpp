#include "core/trace.h"

#include <gtest/gtest.h>

namespace hg {
namespace {

TEST(Trace, SumsByName) {
  Trace trace;
  trace.add("linear", {.flops = 10, .bytes = 4}, 0.5);
  trace.add("linear", {.flops = 20, .bytes = 8}, 0.25);
  trace.add("norm", {.flops = 1, .bytes = 2}, 0.125);
  ASSERT_EQ(trace.entries().size(), 2U);
  const Trace::Entry& linear = trace.entries().at("linear");
  EXPECT_EQ(linear.calls, 2);
  EXPECT_EQ(linear.cost.flops, 30);
  EXPECT_EQ(linear.cost.bytes, 12);
  EXPECT_EQ(linear.seconds, 0.75);
  const Trace::Entry total = trace.total();
  EXPECT_EQ(total.calls, 3);
  EXPECT_EQ(total.cost.flops, 31);
  EXPECT_EQ(total.cost.bytes, 14);
  EXPECT_EQ(total.seconds, 0.875);
  trace.clear();
  EXPECT_EQ(trace.total().calls, 0);
}

TEST(TraceSpan, AddsItselfWhenItEnds) {
  Trace trace;
  {
    const TraceSpan span(&trace, "op", {.flops = 3, .bytes = 5});
    EXPECT_TRUE(trace.entries().empty());
  }
  EXPECT_EQ(trace.entries().at("op").calls, 1);
  EXPECT_EQ(trace.entries().at("op").cost.flops, 3);
  EXPECT_GE(trace.entries().at("op").seconds, 0);
  const TraceSpan nowhere(nullptr, "op", {});  // no trace: nothing to do
}

}  // namespace
}  // namespace hg
