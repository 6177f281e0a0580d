#include "dist/comm_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dist/collective_checks.h"
#include "dist/comm_self.h"
#include "dist/run_ranks.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

std::string error_of(int ranks, const std::function<void(Comm&)>& fn, double timeout = 60) {
  try {
    run_ranks(ranks, fn, timeout);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

/// Ranks: 0 means the communicator of a rank that is alone.
class Collectives : public testing::TestWithParam<std::tuple<int, CollectiveCheck>> {};

TEST_P(Collectives, DoWhatTheySay) {
  const auto& [ranks, check] = GetParam();
  if (ranks == 0) {
    check.run(*alone());
  } else {
    EXPECT_EQ(error_of(ranks, check.run), "no error");
  }
}

std::string name_of_instance(const testing::TestParamInfo<Collectives::ParamType>& instance) {
  const auto& [ranks, check] = instance.param;
  return (ranks == 0 ? "self" : "thread" + std::to_string(ranks)) + "_" + check.name;
}

INSTANTIATE_TEST_SUITE_P(Comm, Collectives,
                         testing::Combine(testing::Values(0, 1, 2, 3, 4),
                                          testing::ValuesIn(collective_checks())),
                         name_of_instance);
INSTANTIATE_TEST_SUITE_P(OnTheHost, Collectives,
                         testing::Combine(testing::Values(0, 1, 2, 3, 4),
                                          testing::ValuesIn(host_checks())),
                         name_of_instance);

struct Mistake {
  const char* name;
  std::function<void(Comm&)> run;
  const char* words;
};

void PrintTo(const Mistake& mistake, std::ostream* out) { *out << mistake.name; }

class Mistakes : public testing::TestWithParam<Mistake> {};

float numbers[64];
Tensor tensor(std::int64_t n) { return {numbers, DType::f32, {n}}; }
using Rows = std::vector<std::int64_t>;

TEST_P(Mistakes, AreNamed) {
  EXPECT_THAT(error_of(2, GetParam().run), HasSubstr(GetParam().words));
}

INSTANTIATE_TEST_SUITE_P(
    Comm, Mistakes,
    testing::ValuesIn(std::vector<Mistake>{
        {"kinds",
         [](Comm& c) {
           if (c.rank() == 0) return c.barrier();
           c.all_reduce(tensor(4), Reduce::sum);
         },
         "world: rank 0 calls barrier, rank 1 calls all_reduce of 4 f32, sum"},
        {"sizes", [](Comm& c) { c.all_reduce(tensor(4 + c.rank()), Reduce::sum); },
         "rank 0 calls all_reduce of 4 f32, sum, rank 1 calls all_reduce of 5 f32, sum"},
        {"roots", [](Comm& c) { c.broadcast(tensor(2), c.rank()); },
         "rank 0 calls broadcast of 2 f32 from 0, rank 1 calls broadcast of 2 f32 from 1"},
        {"rows_of_ranks",
         [](Comm& c) {
           c.all_to_all(tensor(3), Rows{1, 2}, tensor(4), c.rank() == 0 ? Rows{1, 3} : Rows{2, 2});
         },
         "world: rank 0 sends 3 rows to rank 1, which expects 1"},
        {"messages",
         [](Comm& c) {
           if (c.rank() == 0) return c.send(tensor(4), 1);
           c.receive(tensor(5), 0);
         },
         "rank 1: world: rank 0 sends 4 f32, rank 1 expects 5 f32"},
        {"pieces", [](Comm& c) { c.all_gather(tensor(5), tensor(2)); },
         "all_gather: f32 [5] is not 2 times f32 [2]"},
        {"slices",
         [](Comm& c) {
           c.all_reduce(tensor(8).view({4, 2}).slice(1, 0, 1), Reduce::sum);
         },
         "all_reduce: operand 'x' [4, 1] is a slice"},
        {"missing", [](Comm& c) { c.all_reduce(Tensor(nullptr, DType::f32, {3}), Reduce::sum); },
         "all_reduce: operand 'x' is missing"},
        {"row_sum",
         [](Comm& c) {
           c.all_to_all(tensor(4), Rows{2, 2}, tensor(4), Rows{1, 2});
         },
         "all_to_all: the counts for 'in' make 3 rows, the tensor has 4"},
        {"peer", [](Comm& c) { c.send(tensor(1), 2); }, "send: to rank 2 of world"},
    }),
    [](const auto& instance) { return instance.param.name; });

TEST(RunRanks, NamesTheRankThatThrewAndFreesTheOthers) {
  for (const bool in_group : {false, true}) {
    std::atomic<int> aborted = 0;
    const std::string error = error_of(4, [&](Comm& comm) {
      const auto half = comm.split(comm.rank() / 2, 0, "half");
      if (comm.rank() == 2) fail("no luck");
      try {
        // Ranks 0 and 1 wait in a group in which nobody failed.
        if (in_group && comm.rank() < 2) comm.barrier();
        (in_group ? *half : comm).barrier();
        comm.barrier();
      } catch (const CommAborted& e) {
        EXPECT_STREQ(e.what(), "rank 2: no luck");
        ++aborted;
        EXPECT_THROW(comm.barrier(), CommAborted);
        throw;
      }
    });
    EXPECT_EQ(error, "rank 2: no luck");
    EXPECT_EQ(aborted, 3);
  }
}

TEST(RunRanks, FreesARankThatSendsOrReceives) {
  for (const int role : {0, 1, 2}) {
    EXPECT_EQ(error_of(2,
                       [&](Comm& comm) {
                         if (comm.rank() == 1) fail("gone");
                         if (role == 0) comm.send(tensor(3), 1);
                         if (role == 1) comm.receive(tensor(3), 1);
                         if (role == 2) comm.send_receive(tensor(3), 1, tensor(4), 1);
                       }),
              "rank 1: gone");
  }
}

}  // namespace
}  // namespace hg::test
