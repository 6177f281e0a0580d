// Real processes under mpirun; tests/mpi/ranks.cpp is what they run.
#include "dist/comm_mpi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/file.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Result {
  int exit_code;
  std::string output;  // of both streams
  double seconds;
};

class MpiTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(HEADGATE_STD_THREADS)
    GTEST_SKIP() << "ThreadSanitizer does not see what MPI does";
#endif
    if (std::system("mpirun --version > /dev/null 2>&1") != 0)
      GTEST_SKIP() << "mpirun is missing: scripts/install-dependencies installs it";
  }

  Result ranks(int n, const std::string& mode) const {
    const std::string command = fmt::format(
        "ASAN_OPTIONS=detect_leaks=0 timeout -s KILL 60 mpirun -n {} --allow-run-as-root "
        "--oversubscribe --bind-to none {} {} {} 2>&1",
        n, HEADGATE_MPI_RANKS, mode, (folder / "records").string());
    const Clock::time_point start = Clock::now();
    std::FILE* pipe = popen(command.c_str(), "r");
    HG_CHECK(pipe != nullptr, "cannot start mpirun");
    std::string output;
    std::array<char, 4096> buffer;
    while (const std::size_t bytes = std::fread(buffer.data(), 1, buffer.size(), pipe))
      output.append(buffer.data(), bytes);
    const int status = pclose(pipe);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output, seconds_since(start)};
  }

  nlohmann::json record(int rank) const {
    return nlohmann::json::parse(
        read_file(folder / fmt::format("records/flight_rank_{}.json", rank)));
  }

  TempFolder folder;
};

class MpiCollectives : public MpiTest, public testing::WithParamInterface<int> {};

TEST_P(MpiCollectives, DoWhatTheySay) {
  const Result result = ranks(GetParam(), "collectives");
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
  const Result result = ranks(3, GetParam().mode);
  EXPECT_GT(result.exit_code, 0) << result.output;
  EXPECT_LT(result.seconds, 30) << result.output;
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
  const std::string command = fmt::format(
      "RANK=0 WORLD_SIZE=2 MASTER_ADDR=here {} collectives {} 2>&1", HEADGATE_MPI_RANKS, "nowhere");
  std::FILE* pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer;
  const std::size_t bytes = std::fread(buffer.data(), 1, buffer.size(), pipe);
  EXPECT_EQ(WEXITSTATUS(pclose(pipe)), 1);
  EXPECT_THAT(
      std::string(buffer.data(), bytes),
      HasSubstr("found rank 0 of 2, local rank 0 of 1 on node 0 of 2, by torchrun; rank 0 "
                "is on here, but for MPI this is rank 0 of 1: start the ranks with mpirun"));
}

}  // namespace
}  // namespace hg::test
