#include "dist/rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <functional>
#include <mutex>
#include <thread>

#include "core/check.h"
#include "dist/connect.h"

namespace hg::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

/// Ranks in threads of their own, which meet on a port that the system chooses.
class RendezvousTest : public testing::Test {
 protected:
  RendezvousOptions options(int rank, int size) const {
    RendezvousOptions its;
    its.rank = rank;
    its.size = size;
    its.host = "localhost";
    its.port = number_;
    its.timeout = 20;
    return its;
  }

  /// Starts a thread; what it throws is kept.
  void start(std::function<void()> fn) {
    threads_.emplace_back([this, fn = std::move(fn)] {
      try {
        fn();
      } catch (const Error& e) {
        const std::scoped_lock lock(mutex_);
        errors_.emplace_back(e.what());
      }
    });
  }
  /// Starts a rank that meets the others and does no more.
  void start_rank(const RendezvousOptions& its) {
    start([this, its] { meet(its); });
  }
  Rendezvous meet(const RendezvousOptions& its) {
    return its.rank == 0 ? Rendezvous(its, std::move(port_)) : Rendezvous(its);
  }
  /// What was thrown, once all have ended.
  std::vector<std::string> errors() {
    threads_.clear();
    return errors_;
  }
  /// Someone who connects, sends `text` as a message, and stays until he hears something.
  void start_stranger(std::string text) {
    start([this, text = std::move(text)] {
      Socket socket = connect();
      socket.send_message(text, Clock::now() + 10s);
      throw Error("stranger: " + socket.receive_message(Clock::now() + 10s));
    });
  }
  Socket connect() const { return Socket::connected("localhost", number_, Clock::now() + 10s); }

  Socket port_ = Socket::bound(0);

 private:
  const int number_ = port_.port();
  std::mutex mutex_;
  std::vector<std::string> errors_;
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

class RendezvousSizes : public RendezvousTest, public testing::WithParamInterface<int> {};

TEST_P(RendezvousSizes, BringsEveryTextToEveryRank) {
  const int size = GetParam();
  const auto text = [](int rank, int round) {
    return std::string(static_cast<std::size_t>(round * 100000 + rank), static_cast<char>(rank));
  };
  for (int rank = 0; rank < size; ++rank) {
    start([this, rank, size, text] {
      Rendezvous rendezvous = meet(options(rank, size));
      for (int round = 0; round < 4; ++round) {
        const auto texts = rendezvous.gather(text(rank, round), "a round");
        ASSERT_EQ(texts.size(), static_cast<std::size_t>(size));
        for (int r = 0; r < size; ++r)
          EXPECT_EQ(texts[static_cast<std::size_t>(r)], text(r, round)) << r;
      }
    });
  }
  EXPECT_THAT(errors(), ElementsAre());
}

INSTANTIATE_TEST_SUITE_P(Ranks, RendezvousSizes, testing::Values(1, 2, 3, 8),
                         testing::PrintToStringParamName());

TEST_F(RendezvousTest, RankZeroMayComeLast) {
  start_rank(options(1, 3));
  start_rank(options(2, 3));
  std::this_thread::sleep_for(200ms);  // they find a port that refuses them
  start_rank(options(0, 3));
  EXPECT_THAT(errors(), ElementsAre());
}

TEST_F(RendezvousTest, AnyRankMayComeLast) {
  start_rank(options(0, 3));
  start_rank(options(2, 3));
  std::this_thread::sleep_for(200ms);
  start_rank(options(1, 3));
  EXPECT_THAT(errors(), ElementsAre());
}

TEST_F(RendezvousTest, WhoConnectsAndSaysNothingKeepsNobody) {
  start_rank(options(0, 3));
  const Socket silent = connect();
  connect();  // and leaves again
  start_rank(options(1, 3));
  start_rank(options(2, 3));
  EXPECT_THAT(errors(), ElementsAre());
}

TEST_F(RendezvousTest, NamesARankThatNeverComes) {
  for (const int rank : {0, 1, 3}) {
    RendezvousOptions its = options(rank, 5);
    its.timeout = 2;
    start_rank(its);
  }
  const std::string sentence =
      fmt::format("ranks 2, 4 did not come to rank 0 on port {} within 2 s", options(0, 1).port);
  EXPECT_THAT(errors(), ElementsAre(sentence, sentence, sentence));
}

TEST_F(RendezvousTest, NamesRankZeroThatNeverComes) {
  RendezvousOptions its = options(1, 2);
  its.timeout = 0.3;
  start_rank(its);
  EXPECT_THAT(errors(),
              ElementsAre(AllOf(HasSubstr("rank 1 does not get to rank 0: cannot reach localhost:"),
                                HasSubstr("Connection refused"))));
}

struct Wrong {
  const char* name;
  std::function<void(RendezvousOptions&)> change;  // of rank 2
  const char* words;
};

void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.name; }

class WrongHello : public RendezvousTest, public testing::WithParamInterface<Wrong> {};

TEST_P(WrongHello, IsNamedOnAllRanks) {
  start_rank(options(0, 4));
  start_rank(options(1, 4));
  std::this_thread::sleep_for(500ms);  // until rank 1 is there
  RendezvousOptions its = options(2, 4);
  GetParam().change(its);
  start_rank(its);
  const std::vector<std::string> all = errors();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_THAT(all[0], HasSubstr(GetParam().words));
  EXPECT_THAT(all[0], testing::ContainsRegex("127.0.0.1:|::1:"));
  EXPECT_THAT(all, testing::Each(all[0]));
}

INSTANTIATE_TEST_SUITE_P(
    Rank2, WrongHello,
    testing::Values(Wrong{"size", [](RendezvousOptions& its) { its.size = 3; },
                          "is rank 2 of 3 ranks, but rank 0 is of 4"},
                    Wrong{"duplicate", [](RendezvousOptions& its) { its.rank = 1; },
                          "both say that they are rank 1"},
                    Wrong{"job", [](RendezvousOptions& its) { its.job = "77.0"; },
                          "is rank 2 of job '77.0', but rank 0 is of job ''"}),
    [](const auto& one) { return one.param.name; });

struct Said {
  const char* name;
  const char* text;
  const char* words;
};

void PrintTo(const Said& said, std::ostream* out) { *out << said.name; }

class StrangeHello : public RendezvousTest, public testing::WithParamInterface<Said> {};

TEST_P(StrangeHello, IsNamedOnAllRanks) {
  start_rank(options(0, 3));
  start_rank(options(1, 3));
  std::this_thread::sleep_for(500ms);  // until rank 1 is there
  start_stranger(GetParam().text);
  const std::vector<std::string> all = errors();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_THAT(all, testing::Each(HasSubstr(GetParam().words)));
}

INSTANTIATE_TEST_SUITE_P(
    Stranger, StrangeHello,
    testing::Values(Said{"protocol", R"({"protocol":9,"size":3,"rank":2,"job":""})",
                         "speaks version 9 of the protocol, rank 0 version 1"},
                    Said{"out_of_range", R"({"protocol":1,"size":3,"rank":3,"job":""})",
                         "says that it is rank 3, expected 1 to 2"},
                    Said{"rank_zero", R"({"protocol":1,"size":3,"rank":0,"job":""})",
                         "says that it is rank 0, expected 1 to 2"},
                    Said{"no_numbers", R"({"protocol":1,"size":"3","rank":[],"job":""})", "says '"},
                    Said{"no_hello", "good day", "says 'good day' instead of hello"}),
    [](const auto& one) { return one.param.name; });

TEST_F(RendezvousTest, NamesAStrangerWithAnotherProtocol) {
  start_rank(options(0, 3));
  start_rank(options(1, 3));
  std::this_thread::sleep_for(500ms);  // until rank 1 is there
  start([this] {
    const Socket socket = connect();
    const std::string request = "GET / HTTP/1.1\r\n\r\n";
    ASSERT_EQ(::write(socket.descriptor(), request.data(), request.size()), std::ssize(request));
    std::this_thread::sleep_for(100ms);
  });
  const std::vector<std::string> all = errors();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all, testing::Each(AllOf(
                       HasSubstr(", which came to rank 0: what comes is not a message of headgate: "
                                 "it begins with 47455420"),
                       all[0])));
}

TEST_F(RendezvousTest, NamesARankThatGoesAway) {
  for (const int rank : {0, 1, 2}) {
    start([this, rank] {
      Rendezvous rendezvous = meet(options(rank, 3));
      rendezvous.gather("here", "the beginning");
      if (rank != 1) rendezvous.gather("still here", "the id of NCCL");
    });
  }
  const std::vector<std::string> all = errors();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all, testing::Each(AllOf(HasSubstr("rank 0 waits for rank 1 ("),
                                       HasSubstr("), for the id of NCCL: the connection has ended"),
                                       all[0])));
}

TEST_F(RendezvousTest, NamesRankZeroThatGoesAway) {
  for (const int rank : {0, 1}) {
    start([this, rank] {
      Rendezvous rendezvous = meet(options(rank, 2));
      if (rank != 0) rendezvous.gather("here", "the id of NCCL");
    });
  }
  EXPECT_THAT(errors(), ElementsAre(AllOf(HasSubstr("rank 1 waits for rank 0 (localhost:"),
                                          HasSubstr("), for the id of NCCL: "))));
}

TEST_F(RendezvousTest, RanksAgreeOverIt) {
  for (const int rank : {0, 1, 2}) {
    start([this, rank] {
      Rendezvous rendezvous = meet(options(rank, 3));
      const auto gather = [&](const std::string& text) { return rendezvous.gather(text, "facts"); };
      agree(3, gather, {.size = 3, .build = "1", .config = "f00"});
      agree(3, gather, {.size = 3, .build = "1", .config = rank == 1 ? "f01" : "f00"});
    });
  }
  const std::string sentence =
      "the ranks do not run the same thing: different configs: ranks 0, 2 have 'f00', rank 1 has "
      "'f01'";
  EXPECT_THAT(errors(), ElementsAre(sentence, sentence, sentence));
}

TEST(RendezvousOf, TakesWhatTheLauncherSays) {
  const auto environment = [](const char* name) -> const char* {
    return name == std::string("SLURM_JOB_ID")    ? "17"
           : name == std::string("SLURM_STEP_ID") ? "0"
                                                  : nullptr;
  };
  World world;
  world.rank = 1;
  world.size = 2;
  EXPECT_THROW(rendezvous_of(world, environment), Error);
  world.master_host = "gpu01";
  EXPECT_EQ(rendezvous_of(world, environment).port, 29500);
  world.master_port = 4000;
  const RendezvousOptions options = rendezvous_of(world, environment);
  EXPECT_EQ(options.host, "gpu01");
  EXPECT_EQ(options.port, 4000);
  EXPECT_EQ(options.job, "17.0");
}

}  // namespace
}  // namespace hg::test
