// Real processes under mpirun; tests/mpi/ranks.cpp is what they run.
#include "dist/comm_mpi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/file.h"
#include "support/mpirun.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using testing::Not;

class MpiTest : public testing::Test {
 protected:
  void SetUp() override { need_mpirun(); }

  Finished ranks(int n, const std::string& mode) const {
    return finish(fmt::format("{} -n {} {} {} {}", kMpirun, n, kMpiRanks, mode,
                              (folder / "records").string()));
  }

  nlohmann::json record(int rank) const {
    return nlohmann::json::parse(
        read_file(folder / fmt::format("records/flight_rank_{}.json", rank)));
  }

  TempFolder folder;
};

class MpiCollectives : public MpiTest, public testing::WithParamInterface<int> {};

TEST_P(MpiCollectives, DoWhatTheySay) {
  const Finished result = ranks(GetParam(), "collectives");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("all is well"));
}

INSTANTIATE_TEST_SUITE_P(Ranks, MpiCollectives, testing::Values(2, 3),
                         testing::PrintToStringParamName());

struct Failure {
  const char* mode;
  const char* words;
  bool records;  // the ranks that are well certainly have the time to write theirs
};

void PrintTo(const Failure& failure, std::ostream* out) { *out << failure.mode; }

class MpiFailures : public MpiTest, public testing::WithParamInterface<Failure> {};

TEST_P(MpiFailures, EndAllRanksAndNameTheCulprit) {
  const Finished result = ranks(3, GetParam().mode);
  EXPECT_GT(result.exit_code, 0) << result.output;
  EXPECT_LT(result.seconds, 55) << result.output;
  EXPECT_THAT(result.output, HasSubstr(GetParam().words));
  EXPECT_THAT(result.output, Not(HasSubstr("all is well")));
  if (!GetParam().records) return;
  for (const int rank : {0, 2}) {
    const nlohmann::json all = record(rank), last = all["events"].back();
    EXPECT_EQ(all["rank"], rank);
    EXPECT_EQ(last["label"], "layers.1 gradients");
    EXPECT_EQ(last["state"], "pending");
    EXPECT_EQ(last["elements"], 1000);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Mode, MpiFailures,
    testing::Values(
        Failure{"stop",
                "rank 1 does not answer (ended, stopped or out of reach), and all_reduce #3 of "
                "world (layers.1 gradients) did not finish within 2 s",
                true},
        Failure{"sleep",
                "rank 1 did not arrive at all_reduce #3 of world (layers.1 gradients) within 2 s; "
                "rank 1 is in no collective and left all_reduce #2 of world (layers.0 gradients)",
                true},
        Failure{"throw", "rank 1: no luck", true},
        Failure{"throw_in_queue", "rank 1: no luck", false},
        Failure{"kill", "rank 1 with PID", false},  // mpirun's words
        Failure{"exit", "exit code", false},
        Failure{"differ", "different configs: ranks 0, 2 have 'a', rank 1 has 'b'", false}),
    [](const auto& instance) { return std::string(instance.param.mode); });

TEST_F(MpiTest, WithoutItsLauncherIsNamed) {
  const Finished result =
      finish(fmt::format("RANK=0 WORLD_SIZE=2 MASTER_ADDR=here {} collectives nowhere", kMpiRanks));
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(
      result.output,
      HasSubstr("found rank 0 of 2, local rank 0 of 1 on node 0 of 2, by torchrun; rank 0 "
                "is on here, but for MPI this is rank 0 of 1: start the ranks with mpirun"));
}

}  // namespace
}  // namespace hg::test
