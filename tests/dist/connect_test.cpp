#include "dist/connect.h"

#include <gtest/gtest.h>

#include <atomic>

#include "dist/run_ranks.h"

namespace hg {
namespace {

/// What every one of four ranks throws; empty if none does.
std::string disagreement(const std::function<WorldFacts(int rank)>& facts) {
  std::mutex mutex;
  std::vector<std::string> sentences;
  run_ranks(4, [&](Comm& world) {
    try {
      agree(world, facts(world.rank()));
    } catch (const CommAborted&) {
      throw;
    } catch (const Error& e) {
      const std::scoped_lock lock(mutex);
      sentences.emplace_back(e.what());
    }
  });
  if (sentences.empty()) return {};
  EXPECT_EQ(sentences, std::vector(4, sentences.front()));
  return sentences.front();
}

TEST(Agree, IsSilentWhereAllIsTheSame) {
  EXPECT_EQ(disagreement([](int) { return WorldFacts{4, "1.0 (abc)", "f00"}; }), "");
}

TEST(Agree, NamesRanksAndValues) {
  EXPECT_EQ(disagreement([](int rank) {
              return WorldFacts{4, rank == 2 ? "1.0 (abd)" : "1.0 (abc)", "f00"};
            }),
            "the ranks do not run the same thing: different builds: ranks 0, 1, 3 have '1.0 "
            "(abc)', rank 2 has '1.0 (abd)'");
  EXPECT_EQ(disagreement([](int rank) {
              return WorldFacts{rank == 0 ? 8 : 4, "1", rank < 2 ? "f00" : "f01"};
            }),
            "the ranks do not run the same thing: different world sizes: ranks 1, 2, 3 have '4', "
            "rank 0 has '8'; different configs: ranks 0, 1 have 'f00', ranks 2, 3 have 'f01'");
}

TEST(Agree, ChecksTheSizeThatAllWereTold) {
  EXPECT_EQ(disagreement([](int) {
              return WorldFacts{8, "1", "f00"};
            }),
            "every rank was told of 8 ranks, but 4 are connected");
}

TEST(Connect, OneProcessIsAlone) {
  const auto world = connect(World{});
  EXPECT_EQ(world->size(), 1);
  agree(*world, {1, "1", "f00"});
}

}  // namespace
}  // namespace hg
