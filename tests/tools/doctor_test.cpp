// headgate doctor as people start it: alone and under mpirun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include <yaml-cpp/yaml.h>

#include "dist/world.h"
#include "support/finish.h"
#include "support/paths.h"
#include "support/small_run.h"

namespace hg::test {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class DoctorMpiTest : public SmallRun {
 protected:
  void SetUp() override {
#if defined(HEADGATE_STD_THREADS)
    GTEST_SKIP() << "ThreadSanitizer does not see what MPI does";
#endif
    if (std::system("mpirun --version > /dev/null 2>&1") != 0)
      GTEST_SKIP() << "mpirun is missing: scripts/install-dependencies installs it";
    config.training.precision = Precision::f32;
    write_file(folder / "run.yaml", to_yaml(config));
  }

  static Finished doctor(const std::string& arguments) {
    return finish(
        "ASAN_OPTIONS=detect_leaks=0 timeout -s KILL 100 mpirun -n 2 --allow-run-as-root "
        "--oversubscribe --bind-to none " +
        kHeadgate + " doctor " + arguments);
  }
  std::string in(const char* name) const { return (folder / name).string(); }
};

TEST_F(DoctorMpiTest, HealthyRanksPassAndNothingStays) {
  const Finished result = doctor(in("run.yaml") + " --run " + in("new/run"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  for (const char* words :
       {"ok       world           rank 0 of 2, local rank 0 of 2 on node 0 of 1, by Open MPI "
        "(OMPI_COMM_WORLD_LOCAL_RANK=0",
        "2 ranks on 1 node: ", "ok       headgate ", "ok       processor ", "cores ",
        "ok       config          the same on all ranks: hash ",
        "ok       layout          data 2 x tensor 1, ZeRO stage 1", " memory ",
        "ok       data            the same on all ranks: ", "the same files on all ranks",
        "rank 1 is furthest from rank 0: ", " latency ", " bandwidth ", "ok       all_reduce ",
        "ok       all_gather ", "ok       reduce_scatter ", "ok       all_to_all "})
    EXPECT_THAT(result.output, HasSubstr(words));
  EXPECT_THAT(result.output, ContainsRegex("0 errors, [0-9]+ warning"));
  EXPECT_FALSE(fs::exists(folder / "new"));
  for (const auto& entry : fs::directory_iterator(folder.path()))
    EXPECT_THAT(entry.path().filename().string(), Not(HasSubstr("doctor")));
}

TEST_F(DoctorMpiTest, WhatDoesNotFitIsAnError) {
  const Finished result = doctor(in("run.yaml") + " --run " + in("run") +
                                 " --set parallelism.tensor=2 --set model.num_key_value_heads=1");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_THAT(result.output,
              ContainsRegex("error +layout +model.num_key_value_heads = 1 does not divide by "
                            "parallelism.tensor = 2; model.vocab_size = 257 does not divide"));
  EXPECT_THAT(result.output, HasSubstr("\n1 error, "));
}

TEST_F(DoctorMpiTest, AFolderThatCannotBeWrittenIsAnError) {
  const Finished result = doctor("--run /proc/run");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("error +run folder +rank 0: cannot create /proc/"));
  EXPECT_THAT(result.output, Not(HasSubstr("layout")));
}

TEST_F(DoctorMpiTest, ARankWithAnotherConfigIsNamed) {
  const std::string command =
      "ASAN_OPTIONS=detect_leaks=0 timeout -s KILL 100 mpirun --allow-run-as-root --oversubscribe "
      "--bind-to none -n 1 " +
      kHeadgate + " doctor " + in("run.yaml") + " --run " + in("run") + " : -n 1 " + kHeadgate +
      " doctor " + in("none.yaml") + " --run " + in("run");
  const Finished result = finish(command);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("error +config +rank 1: .*none.yaml"));
}

TEST_F(DoctorMpiTest, TheLaunchScriptStartsRanks) {
  const std::string script = source_path("scripts/launch/mpirun");
  const Finished result =
      finish(std::string("HEADGATE=") + kHeadgate + " ASAN_OPTIONS=detect_leaks=0 " + script +
             " -n 2 --oversubscribe -- doctor --run " + in("run"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("world           rank 0 of 2, "));
  EXPECT_THAT(result.output, ContainsRegex("2 ranks share [0-9]+ of"));  // unbound
  const Finished usage = finish(script + " -n 2 doctor");
  EXPECT_EQ(usage.exit_code, 2);
  EXPECT_THAT(usage.output, HasSubstr("usage: "));
}

/// Kubernetes sets the ranks' variables: they must say one world that find_world understands.
TEST(KubernetesJob, GivesEveryPodItsRank) {
  const auto documents = YAML::LoadAllFromFile(source_path("scripts/launch/kubernetes.yaml"));
  ASSERT_EQ(documents.size(), 2U);
  const YAML::Node &service = documents[0], &job = documents[1],
                   pod = job["spec"]["template"]["spec"];
  const auto name = job["metadata"]["name"].as<std::string>();
  EXPECT_EQ(service["spec"]["clusterIP"].as<std::string>(), "None");
  EXPECT_EQ(service["spec"]["selector"]["job-name"].as<std::string>(), name);
  EXPECT_EQ(service["metadata"]["name"].as<std::string>(), pod["subdomain"].as<std::string>());
  const int ranks = job["spec"]["completions"].as<int>();
  EXPECT_EQ(job["spec"]["parallelism"].as<int>(), ranks);
  std::map<std::string, std::string> variables;
  for (const auto& variable : pod["containers"][0]["env"]) {
    variables[variable["name"].as<std::string>()] =
        variable["value"] ? variable["value"].as<std::string>() : std::to_string(ranks - 1);
  }
  const World world = find_world([&](const char* asked) {
    const auto found = variables.find(asked);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
  EXPECT_EQ(world.rank, ranks - 1);
  EXPECT_EQ(world.size, ranks);
  EXPECT_EQ(world.nodes, ranks);
  EXPECT_EQ(world.master_host, name + "-0." + pod["subdomain"].as<std::string>());
}

TEST_F(DoctorMpiTest, WorksAlone) {
  const Finished result =
      finish(std::string(kHeadgate) + " doctor " + in("run.yaml") + " --run " + in("run"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("one process: no launcher's variables found"));
  EXPECT_THAT(result.output, HasSubstr("1 rank on 1 node: "));
  EXPECT_THAT(result.output, Not(HasSubstr("all_reduce")));
  const Finished world = finish(std::string("RANK=0 WORLD_SIZE=two ") + kHeadgate + " doctor");
  EXPECT_EQ(world.exit_code, 1);
  EXPECT_THAT(world.output, HasSubstr("WORLD_SIZE is 'two', expected a number"));
}

}  // namespace
}  // namespace hg::test
