// Schedules of all stages of a pipeline, played against each other.
#include "dist/pipeline_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "core/check.h"

namespace hg::test {
namespace {

using Action = PipelineAction;
constexpr auto kForward = Action::Pass::forward;
constexpr auto kBackward = Action::Pass::backward;

struct PipelineCase {
  int stages, chunks, micro_batches;
};
void PrintTo(const PipelineCase& c, std::ostream* out) {
  *out << c.stages << " stages of " << c.chunks << " chunks, " << c.micro_batches
       << " micro-batches";
}

/// What a chunk of the whole model works on.
struct Message {
  int micro_batch, part;
  bool operator==(const Message&) const = default;
};

class PipelineScheduleTest : public testing::TestWithParam<PipelineCase> {
 protected:
  PipelineScheduleTest() {
    for (int stage = 0; stage < c.stages; ++stage)
      schedules.push_back(pipeline_schedule(stage, c.stages, c.chunks, c.micro_batches));
  }
  const PipelineCase c = GetParam();
  std::vector<PipelineSchedule> schedules;
};

TEST_P(PipelineScheduleTest, EveryPassComesOnceAndBackwardBehindForward) {
  for (const PipelineSchedule& schedule : schedules) {
    std::set<std::pair<int, int>> forward, backward;
    std::map<int, std::pair<int, int>> slots;
    for (const Action& action : schedule.actions) {
      const std::pair pass{action.micro_batch, action.chunk};
      ASSERT_LT(action.slot, schedule.slots);
      if (action.pass == kForward) {
        EXPECT_TRUE(forward.insert(pass).second);
        EXPECT_TRUE(slots.emplace(action.slot, pass).second) << "the slot is taken";
      } else {
        EXPECT_TRUE(forward.contains(pass) && backward.insert(pass).second);
        EXPECT_EQ(slots.at(action.slot), pass);
        slots.erase(action.slot);
      }
    }
    EXPECT_EQ(std::ssize(backward), c.micro_batches * c.chunks);
    EXPECT_TRUE(slots.empty());
  }
}

TEST_P(PipelineScheduleTest, GradientsOfAChunkComeInTheOrderOfMicroBatches) {
  for (const PipelineSchedule& schedule : schedules) {
    std::map<int, int> next;
    for (const Action& action : schedule.actions) {
      if (action.pass == kForward) continue;
      EXPECT_EQ(action.micro_batch, next[action.chunk]++);
    }
  }
}

TEST_P(PipelineScheduleTest, BatchesThatAreNeededAreNotMoreThanItSays) {
  for (const PipelineSchedule& schedule : schedules) {
    std::map<int, int> passes;  // of micro-batches that are begun
    for (const Action& action : schedule.actions) {
      ++passes[action.micro_batch];
      EXPECT_LE(passes.rbegin()->first - passes.begin()->first + 1, schedule.batches);
      if (passes[action.micro_batch] == 2 * c.chunks) passes.erase(action.micro_batch);
    }
  }
}

/// Each stage goes on as far as what it has received lets it, and as slots are free: until a
/// message is received, the sender's slot is not. With messages in another order than expected, one
/// that nobody sends, or stages that wait for each other's slots, it gets stuck.
TEST_P(PipelineScheduleTest, StagesNeverLockUpAndReceiveWhatTheyExpect) {
  const int parts = c.stages * c.chunks;
  std::vector<std::deque<Message>> activations(static_cast<std::size_t>(c.stages)),
      gradients(static_cast<std::size_t>(c.stages));
  std::vector<std::set<int>> taken(static_cast<std::size_t>(c.stages));
  std::vector<std::size_t> at(static_cast<std::size_t>(c.stages));
  const auto receive = [](std::deque<Message>& from, const Message& expected) {
    if (from.empty()) return false;
    EXPECT_EQ(from.front(), expected);
    from.pop_front();
    return true;
  };
  const auto advance = [&](int stage) {
    const auto s = static_cast<std::size_t>(stage);
    if (at[s] == schedules[s].actions.size()) return false;
    const Action& action = schedules[s].actions[at[s]];
    const int part = action.chunk * c.stages + stage;
    const bool forward = action.pass == kForward;
    const bool first = part == (forward ? 0 : parts - 1), last = part == (forward ? parts - 1 : 0);
    auto& ways = forward ? activations : gradients;
    if (forward && taken[s].contains(action.slot)) return false;
    if (!first && !receive(ways[s], {action.micro_batch, part})) return false;
    const int step = forward ? 1 : -1, to = (stage + step + c.stages) % c.stages;
    if (!last) ways[static_cast<std::size_t>(to)].push_back({action.micro_batch, part + step});
    if (forward) taken[s].insert(action.slot);
    if (!forward && !first) {  // the sender's slot
      const int from = (stage + 1) % c.stages;
      for (const Action& sent : schedules[static_cast<std::size_t>(from)].actions) {
        if (sent.micro_batch == action.micro_batch && sent.chunk == (part + 1) / c.stages)
          taken[static_cast<std::size_t>(from)].erase(sent.slot);
      }
    }
    if (!forward && last) taken[s].erase(action.slot);
    ++at[s];
    return true;
  };
  for (bool moved = true; moved;) {
    moved = false;
    // The last stage first, to have another order than the one that slots were given in.
    for (int stage = c.stages; stage-- > 0;) moved = advance(stage) || moved;
  }
  for (std::size_t s = 0; s < at.size(); ++s)
    EXPECT_EQ(at[s], schedules[s].actions.size()) << "stage " << s << " is stuck";
}

constexpr PipelineCase kCases[] = {{1, 1, 1}, {1, 1, 5}, {2, 1, 1}, {2, 1, 2}, {2, 1, 7},
                                   {4, 1, 3}, {4, 1, 4}, {4, 1, 9}, {8, 1, 8}, {2, 2, 2},
                                   {2, 2, 6}, {2, 3, 4}, {4, 2, 4}, {4, 2, 8}, {4, 3, 12},
                                   {3, 2, 3}, {8, 2, 16}};
INSTANTIATE_TEST_SUITE_P(Pipelines, PipelineScheduleTest, testing::ValuesIn(kCases));

TEST(PipelineSchedule, OneForwardOneBackward) {
  const auto schedule = pipeline_schedule(0, 2, 1, 3);
  const std::vector<Action> expected = {{kForward, 0, 0, 0},  {kForward, 1, 0, 1},
                                        {kBackward, 0, 0, 0}, {kForward, 2, 0, 0},
                                        {kBackward, 1, 0, 1}, {kBackward, 2, 0, 0}};
  EXPECT_EQ(schedule.actions, expected);
}

TEST(PipelineSchedule, MemoryGrowsWithStagesAndNotWithMicroBatches) {
  for (int stage = 0; stage < 4; ++stage)
    EXPECT_EQ(pipeline_schedule(stage, 4, 1, 64).slots, 4 - stage);
  // Two more passes for each stage behind, a round for each chunk but one, and one slot whose
  // gradient is on its way.
  EXPECT_EQ(pipeline_schedule(0, 4, 2, 64).slots, 2 * 3 + 4 + 1 + 1);
}

/// The time that a stage waits in a step of equal passes, where backward takes twice forward's.
double bubble(int stages, int chunks, int micro_batches) {
  std::map<std::tuple<bool, int, int>, double> done;  // (forward, micro-batch, part): when
  std::vector<PipelineSchedule> schedules;
  std::vector<std::size_t> at(static_cast<std::size_t>(stages));
  std::vector<double> now(static_cast<std::size_t>(stages));
  for (int stage = 0; stage < stages; ++stage)
    schedules.push_back(pipeline_schedule(stage, stages, chunks, micro_batches));
  const int parts = stages * chunks;
  for (bool moved = true; moved;) {
    moved = false;
    for (int stage = 0; stage < stages; ++stage) {
      const auto s = static_cast<std::size_t>(stage);
      if (at[s] == schedules[s].actions.size()) continue;
      const Action& action = schedules[s].actions[at[s]];
      const bool forward = action.pass == kForward;
      const int part = action.chunk * stages + stage, before = forward ? part - 1 : part + 1;
      double start = now[s];
      if (0 <= before && before < parts) {
        const auto found = done.find({forward, action.micro_batch, before});
        if (found == done.end()) continue;
        start = std::max(start, found->second);
      }
      now[s] = start + (forward ? 1.0 : 2.0) / chunks;
      done[{forward, action.micro_batch, part}] = now[s];
      ++at[s];
      moved = true;
    }
  }
  return *std::ranges::max_element(now) - 3.0 * micro_batches;
}

TEST(PipelineSchedule, WaitsAsLongAsThePapersSay) {
  // (p - 1) (forward + backward), and that divided by the chunks: arXiv 2104.04473, section 2.2.
  EXPECT_DOUBLE_EQ(bubble(4, 1, 8), 3 * 3.0);
  EXPECT_DOUBLE_EQ(bubble(4, 2, 8), 3 * 3.0 / 2);
  EXPECT_DOUBLE_EQ(bubble(4, 4, 8), 3 * 3.0 / 4);
}

TEST(PipelineSchedule, ChunksNeedMicroBatchesThatDivideByTheStages) {
  EXPECT_THROW(pipeline_schedule(0, 4, 2, 6), Error);
  EXPECT_THROW(pipeline_schedule(0, 1, 2, 6), Error);
}

TEST(PipelineSchedule, LayersAreSharedAsEquallyAsCanBe) {
  std::int64_t next = 0;
  for (int part = 0; part < 8; ++part) {
    const auto [first, last] = layers_of_part(28, part, 8);
    EXPECT_EQ(first, next);
    EXPECT_TRUE(last - first == 3 || last - first == 4);
    next = last;
  }
  EXPECT_EQ(next, 28);
}

}  // namespace
}  // namespace hg::test
