#include "dist/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/file.h"
#include "dist/comm_self.h"
#include "dist/comm_thread.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

CommEvent event_of(CommKind kind, int peer = -1) {
  return {.kind = kind,
          .group = "dp",
          .members = std::make_shared<const std::vector<int>>(std::vector{0, 1, 2}),
          .peer = peer,
          .channel = 1,
          .sequence = 7,
          .label = "layers.7 gradients",
          .elements = 10,
          .dtype = DType::f32,
          .entered = {},
          .left = {},
          .finished = false};
}

TEST(StallSentence, NamesWhoIsMissing) {
  const CommEvent event = event_of(CommKind::all_reduce);
  const RankAnswer waits{.rank = 0, .arrived = true, .where = "is in it"};
  const RankAnswer late{.rank = 1, .arrived = false, .where = "is elsewhere"};
  const RankAnswer silent{.rank = 2, .arrived = false, .where = std::nullopt};
  EXPECT_EQ(stall_sentence(event, 30, std::vector{waits, late}),
            "rank 1 did not arrive at all_reduce #7 of dp (layers.7 gradients) within 30 s; rank 1 "
            "is elsewhere");
  EXPECT_EQ(stall_sentence(event, 30, std::vector{waits, silent}),
            "rank 2 does not answer (ended, stopped or out of reach), and all_reduce #7 of dp "
            "(layers.7 gradients) did not finish within 30 s");
  EXPECT_EQ(stall_sentence(event, 0.5, std::vector{late, silent}),
            "rank 2 does not answer (ended, stopped or out of reach), and all_reduce #7 of dp "
            "(layers.7 gradients) did not finish within 0.5 s; rank 1 did not arrive either; rank "
            "1 is elsewhere");
  EXPECT_EQ(stall_sentence(event, 30, std::vector{waits, waits}),
            "all_reduce #7 of dp (layers.7 gradients) did not finish within 30 s, though every "
            "rank has begun it; rank 0 is in it; rank 0 is in it");
}

TEST(StallSentence, DoesNotListThousands) {
  std::vector<RankAnswer> answers;
  for (int rank = 0; rank < 4000; ++rank)
    answers.push_back({.rank = rank, .arrived = false, .where = "sleeps"});
  const std::string sentence = stall_sentence(event_of(CommKind::barrier), 30, answers);
  EXPECT_THAT(sentence, StartsWith("ranks 0, 1, 2, 3, 4, 5, 6, 7 and 3992 more did not arrive at"));
  EXPECT_THAT(sentence, HasSubstr("rank 7 sleeps"));
  EXPECT_LT(sentence.size(), 500U);
}

/// A world of threads with a watchdog each, all ranks doing what `body` says.
struct Job {
  std::vector<std::string> ends;     // what each rank threw
  std::vector<std::string> reports;  // of all watchdogs
};

Job run_job(int ranks, const std::filesystem::path& records, double timeout,
            const std::function<void(Comm&, Watchdog&)>& body) {
  Job job{.ends = std::vector<std::string>(static_cast<std::size_t>(ranks)), .reports = {}};
  std::mutex mutex;
  const auto world = thread_world(ranks);
  std::vector<std::unique_ptr<Watchdog>> watchdogs;
  for (const auto& comm : world) {
    watchdogs.push_back(
        std::make_unique<Watchdog>(*comm, WatchdogOptions{.timeout = timeout,
                                                          .grace = 3,
                                                          .records = records,
                                                          .report = [&](const std::string& text) {
                                                            const std::scoped_lock lock(mutex);
                                                            job.reports.push_back(text);
                                                          }}));
  }
  {
    std::vector<std::jthread> threads;
    for (std::size_t r = 0; r < world.size(); ++r) {
      threads.emplace_back([&, r] {
        try {
          body(*world[r], *watchdogs[r]);
        } catch (const std::exception& e) {
          job.ends[r] = e.what();
        }
      });
    }
  }
  watchdogs.clear();
  return job;
}

nlohmann::json record_of(const TempFolder& folder, int rank) {
  return nlohmann::json::parse(read_file(folder / fmt::format("flight_rank_{}.json", rank)));
}

float values[16];
Tensor tensor(int rank) { return {values + 4 * rank, DType::f32, {4}}; }

TEST(Watchdog, NamesTheRankThatDidNotArriveAndEndsAllRanks) {
  const TempFolder folder;
  std::atomic<bool> over = false;
  const Job job = run_job(3, folder.path(), 2, [&](Comm& comm, Watchdog&) {
    comm.all_reduce(tensor(comm.rank()), Reduce::sum, "layers.0 gradients");
    if (comm.rank() == 1) {
      over.wait(false);  // busy elsewhere, until the others have been ended
      comm.barrier("too late");
    }
    try {
      comm.all_reduce(tensor(comm.rank()), Reduce::sum, "layers.1 gradients");
    } catch (...) {
      over = true;
      over.notify_all();
      throw;
    }
  });
  ASSERT_GE(job.reports.size(), 1U);
  EXPECT_THAT(job.reports.front(),
              StartsWith("rank 1 did not arrive at all_reduce #2 of world (layers.1 gradients) "
                         "within 2 s; rank 1 is in no collective and left all_reduce #1 of world "
                         "(layers.0 gradients) "));
  for (const std::string& end : job.ends) EXPECT_EQ(end, job.reports.front());
  for (const int rank : {0, 1, 2}) {
    const nlohmann::json record = record_of(folder, rank), last = record["events"].back();
    EXPECT_EQ(record["rank"], rank);
    EXPECT_EQ(record["reason"], job.reports.front());
    EXPECT_EQ(last["state"], rank == 1 ? "finished" : "pending");
    EXPECT_EQ(last["label"], rank == 1 ? "layers.0 gradients" : "layers.1 gradients");
    EXPECT_EQ(last["kind"], "all_reduce");
    EXPECT_EQ(last["dtype"], "f32");
  }
}

TEST(Watchdog, NamesAMissingSender) {
  const Job job = run_job(3, {}, 2, [](Comm& comm, Watchdog&) {
    if (comm.rank() == 2) comm.receive(tensor(2), 0, "activations");
    if (comm.rank() == 1) comm.send(tensor(1), 2, "activations");
    if (comm.rank() == 0) comm.barrier("elsewhere");
  });
  ASSERT_GE(job.reports.size(), 1U);
  // Rank 1 waits for rank 2, which waits for rank 0, which waits for all: each of these is true.
  EXPECT_THAT(job.reports.front(),
              testing::AnyOf(HasSubstr("rank 0 did not arrive at receive #1 from rank 0 of world "
                                       "(activations) within 2 s; rank 0 is in barrier #1"),
                             HasSubstr("rank 2 did not arrive at send #1 to rank 2 of world"),
                             HasSubstr("ranks 1, 2 did not arrive at barrier #1 of world")));
}

TEST(Watchdog, TellsTheOthersOfAnException) {
  const TempFolder folder;
  std::atomic<const FlightRecord*> others[2] = {};
  const auto is_waiting = [](const FlightRecord* record) {
    return record != nullptr && record->oldest_pending();
  };
  const Job job = run_job(3, folder.path(), 60, [&](Comm& comm, Watchdog& watchdog) {
    if (comm.rank() == 2) {
      while (!std::ranges::all_of(others, is_waiting)) std::this_thread::yield();
      return watchdog.fail("rank 2: the disk is full");
    }
    others[comm.rank()] = &comm.record();
    comm.barrier("step 3");
  });
  EXPECT_THAT(job.ends,
              testing::ElementsAre("rank 2: the disk is full", "rank 2: the disk is full", ""));
  EXPECT_TRUE(job.reports.empty());
  EXPECT_EQ(record_of(folder, 0)["reason"], "rank 2: the disk is full");
  EXPECT_EQ(record_of(folder, 1)["events"].back()["label"], "step 3");
}

TEST(Watchdog, EveryRankEndsWithTheExitCodeOfTheFailure) {
  const auto world = thread_world(2);
  std::array<std::promise<int>, 2> codes;
  std::vector<std::unique_ptr<Watchdog>> watchdogs;
  for (std::size_t rank = 0; rank < codes.size(); ++rank) {
    watchdogs.push_back(std::make_unique<Watchdog>(
        *world[rank],
        WatchdogOptions{.timeout = 60,
                        .grace = 0.5,
                        .records = {},
                        .report = {},
                        .abort = [&codes, rank](int code) { codes[rank].set_value(code); }}));
  }
  watchdogs[1]->fail("rank 1: the loss is not finite", 3);
  for (auto& code : codes) EXPECT_EQ(code.get_future().get(), 3);
}

TEST(Watchdog, LetsAJobThatWorksBe) {
  const Job job = run_job(2, {}, 5, [](Comm& comm, Watchdog&) {
    for (int i = 0; i < 12; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(i % 2 == comm.rank() ? 100 : 1));
      comm.barrier();
    }
  });
  EXPECT_THAT(job.ends, testing::ElementsAre("", ""));
  EXPECT_TRUE(job.reports.empty());
}

TEST(Watchdog, WorksForARankThatIsAlone) {
  const TempFolder folder;
  const auto world = alone();
  Watchdog watchdog(*world, {.timeout = 1, .grace = 0.1, .records = folder.path(), .report = {}});
  world->barrier("step 1");
  watchdog.fail("the disk is full");
  EXPECT_EQ(record_of(folder, 0)["events"].back()["label"], "step 1");
}

TEST(Watchdog, ARecordThatCannotBeWrittenDoesNotKeepTheJobAlive) {
  const TempFolder folder;
  write_file(folder / "file", "in the way");
  const Job job = run_job(2, folder / "file", 60, [](Comm& comm, Watchdog& watchdog) {
    if (comm.rank() == 1) return watchdog.fail("no luck");
    comm.barrier();
  });
  EXPECT_EQ(job.ends.front(), "no luck");
  ASSERT_GE(job.reports.size(), 1U);
  EXPECT_THAT(job.reports.front(), HasSubstr("file"));
}

}  // namespace
}  // namespace hg::test
