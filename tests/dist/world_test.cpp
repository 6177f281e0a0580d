#include "dist/world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/check.h"

namespace hg {
namespace {

using Environment = std::map<std::string, std::string>;

World find(const Environment& environment, const WorldFlags& flags = {}) {
  return find_world(
      [&](const char* name) {
        const auto found = environment.find(name);
        return found == environment.end() ? nullptr : found->second.c_str();
      },
      flags);
}

const Environment kTorchrun = {{"RANK", "5"},           {"WORLD_SIZE", "8"},
                               {"LOCAL_RANK", "1"},     {"LOCAL_WORLD_SIZE", "4"},
                               {"GROUP_RANK", "1"},     {"MASTER_ADDR", "gpu01"},
                               {"MASTER_PORT", "29500"}};
const Environment kSlurm = {{"SLURM_PROCID", "6"},
                            {"SLURM_NTASKS", "7"},
                            {"SLURM_LOCALID", "2"},
                            {"SLURM_NODEID", "1"},
                            {"SLURM_STEP_TASKS_PER_NODE", "4,3"},
                            {"SLURM_JOB_NODELIST", "gpu[09-10]"}};
const Environment kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "3"},
                              {"OMPI_COMM_WORLD_SIZE", "4"},
                              {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                              {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}};
const Environment kPmi = {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}};

/// Later ones win.
Environment merged(std::initializer_list<Environment> parts) {
  Environment all;
  for (const Environment& part : parts)
    for (const auto& [name, value] : part) all[name] = value;
  return all;
}

struct Case {
  const char* name;
  Environment environment;
  WorldFlags flags;
  std::string sentence;
};

void PrintTo(const Case& example, std::ostream* out) { *out << example.name; }

class Worlds : public testing::TestWithParam<Case> {};

TEST_P(Worlds, AreFound) {
  EXPECT_EQ(find(GetParam().environment, GetParam().flags).sentence(), GetParam().sentence);
}

WorldFlags flags(int rank, int size) {
  return {.rank = rank, .size = size, .local_rank = {}, .local_size = {}, .master = {}};
}

INSTANTIATE_TEST_SUITE_P(
    World, Worlds,
    testing::ValuesIn(std::vector<Case>{
        {"nothing", {}, {}, "one process: no launcher's variables found"},
        {"a_shell_in_an_allocation",
         {{"SLURM_NTASKS", "8"}, {"WORLD_SIZE", "8"}, {"SLURM_JOB_NODELIST", "a,b"}},
         {},
         "one process: no launcher's variables found"},
        {"torchrun",
         kTorchrun,
         {},
         "rank 5 of 8, local rank 1 of 4 on node 1 of 2, by torchrun; rank 0 is on gpu01, port "
         "29500"},
        {"slurm",
         kSlurm,
         {},
         "rank 6 of 7, local rank 2 of 3 on node 1 of 2, by Slurm; rank 0 is on gpu09"},
        {"open_mpi", kOpenMpi, {}, "rank 3 of 4, local rank 1 of 2 on node 1 of 2, by Open MPI"},
        {"pmi", kPmi, {}, "rank 1 of 2, local rank 0 of 1 on node 1 of 2, by PMI"},
        {"pmi_with_local_ranks",
         merged({kPmi, {{"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}}}),
         {},
         "rank 1 of 2, local rank 1 of 2 on node 0 of 1, by PMI"},
        {"torchrun_before_slurm",
         merged({kOpenMpi, kPmi, kSlurm, kTorchrun}),
         {},
         "rank 5 of 8, local rank 1 of 4 on node 1 of 2, by torchrun; rank 0 is on gpu01, port "
         "29500"},
        {"slurm_before_open_mpi_that_agrees",
         merged(
             {kSlurm,
              {{"OMPI_COMM_WORLD_RANK", "6"}, {"OMPI_COMM_WORLD_SIZE", "7"}, {"PMI_RANK", "6"}}}),
         {},
         "rank 6 of 7, local rank 2 of 3 on node 1 of 2, by Slurm; rank 0 is on gpu09"},
        {"mpirun_in_a_slurm_allocation",
         merged({kSlurm, kOpenMpi}),
         {},
         "rank 3 of 4, local rank 1 of 2 on node 1 of 2, by Open MPI"},
        {"open_mpi_before_pmi",
         merged({kPmi, kOpenMpi}),
         {},
         "rank 3 of 4, local rank 1 of 2 on node 1 of 2, by Open MPI"},
        {"flags_before_all", merged({kSlurm, kTorchrun}), flags(0, 3),
         "rank 0 of 3, local rank 0 of 1 on node 0 of 3, by the command line; rank 0 is on gpu01, "
         "port 29500"},
        {"master_by_flag",
         kTorchrun,
         {.rank = {}, .size = {}, .local_rank = {}, .local_size = {}, .master = "[fe80::1]:4000"},
         "rank 5 of 8, local rank 1 of 4 on node 1 of 2, by torchrun; rank 0 is on [fe80::1], port "
         "4000"},
        {"localhost_on_one_node",
         merged({kTorchrun,
                 {{"LOCAL_WORLD_SIZE", "8"},
                  {"LOCAL_RANK", "5"},
                  {"GROUP_RANK", "0"},
                  {"MASTER_ADDR", "localhost"}}}),
         {},
         "rank 5 of 8, local rank 5 of 8 on node 0 of 1, by torchrun; rank 0 is on localhost, port "
         "29500"},
        {"slurm_by_the_most_per_node",
         {{"SLURM_PROCID", "9"},
          {"SLURM_NTASKS", "10"},
          {"SLURM_LOCALID", "1"},
          {"SLURM_NODEID", "1"},
          {"SLURM_NTASKS_PER_NODE", "8"}},
         {},
         "rank 9 of 10, local rank 1 of 8 on node 1 of 2, by Slurm"},
        {"slurm_step_on_fewer_nodes",
         merged({kSlurm, {{"SLURM_STEP_NODELIST", "gpu[10,12]"}}}),
         {},
         "rank 6 of 7, local rank 2 of 3 on node 1 of 2, by Slurm; rank 0 is on gpu10"},
    }),
    [](const auto& instance) { return std::string(instance.param.name); });

struct BadCase {
  const char* name;
  Environment environment;
  WorldFlags flags;
  const char* words;
};

void PrintTo(const BadCase& example, std::ostream* out) { *out << example.name; }

class BadWorlds : public testing::TestWithParam<BadCase> {};

TEST_P(BadWorlds, AreOneErrorThatNamesTheVariable) {
  try {
    const World world = find(GetParam().environment, GetParam().flags);
    FAIL() << world.sentence();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr(GetParam().words));
  }
}

INSTANTIATE_TEST_SUITE_P(
    World, BadWorlds,
    testing::ValuesIn(std::vector<BadCase>{
        {"no_number",
         merged({kTorchrun, {{"WORLD_SIZE", "8x"}}}),
         {},
         "WORLD_SIZE is '8x', expected a number >= 0"},
        {"empty", merged({kTorchrun, {{"RANK", ""}}}), {}, "RANK is '', expected a number"},
        {"negative",
         merged({kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "-1"}}}),
         {},
         "OMPI_COMM_WORLD_RANK is '-1'"},
        {"no_size", {{"RANK", "0"}}, {}, "RANK is 0, but WORLD_SIZE is not set"},
        {"outside", merged({kTorchrun, {{"RANK", "8"}}}), {}, "RANK is 8, but WORLD_SIZE is 8"},
        {"no_world",
         {{"PMI_RANK", "0"}, {"PMI_SIZE", "0"}},
         {},
         "PMI_RANK is 0, but PMI_SIZE is 0"},
        {"local_outside",
         merged({kTorchrun, {{"LOCAL_RANK", "4"}}}),
         {},
         "LOCAL_RANK is 4, but this node has 4 ranks"},
        {"local_rank_alone",
         {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}},
         {},
         "LOCAL_RANK and LOCAL_WORLD_SIZE must be set together"},
        {"more_local_than_all",
         merged({kTorchrun, {{"LOCAL_WORLD_SIZE", "9"}}}),
         {},
         "LOCAL_WORLD_SIZE is 9, but WORLD_SIZE is 8"},
        {"port", merged({kTorchrun, {{"MASTER_PORT", "0"}}}), {}, "MASTER_PORT is 0"},
        {"localhost",
         merged({kTorchrun, {{"MASTER_ADDR", "127.0.1.1"}}}),
         {},
         "MASTER_ADDR is '127.0.1.1', but the 8 ranks lie on 2 nodes"},
        {"localhost_v6", merged({kTorchrun, {{"MASTER_ADDR", "::1"}}}), {}, "MASTER_ADDR is '::1'"},
        {"localhost_by_flag",
         kTorchrun,
         {.rank = {}, .size = {}, .local_rank = {}, .local_size = {}, .master = "localhost:1"},
         "--master is 'localhost', but the 8 ranks lie on 2 nodes"},
        {"localhost_by_hand",
         {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "localhost"}},
         {},
         "If all ranks are on this node, say so by LOCAL_WORLD_SIZE"},
        {"node_list",
         merged({kSlurm, {{"SLURM_JOB_NODELIST", "gpu[1-"}}}),
         {},
         "SLURM_JOB_NODELIST is 'gpu[1-', expected a list of nodes like"},
        {"node_outside",
         merged({kSlurm, {{"SLURM_NODEID", "2"}}}),
         {},
         "SLURM_STEP_TASKS_PER_NODE is '4,3', expected a list like '4(x2),3' with node 2"},
        {"flag_without_rank",
         {},
         {.rank = {}, .size = 4, .local_rank = {}, .local_size = {}, .master = {}},
         "need --rank"},
        {"flag_outside", {}, flags(4, 4), "--rank is 4, but --world-size is 4"},
    }),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(World, FollowsFromTheVariablesThatAreSaidToBeItsLaunchers) {
  using Source = World::Source;
  const std::pair<Source, Environment> kCases[] = {{Source::torchrun, kTorchrun},
                                                   {Source::slurm, kSlurm},
                                                   {Source::open_mpi, kOpenMpi},
                                                   {Source::pmi, kPmi}};
  for (const auto& [source, environment] : kCases) {
    const std::vector<std::string> names = variables_of(source);
    Environment rest = environment;
    for (const std::string& name : names) rest.erase(name);
    EXPECT_EQ(find(rest).source, Source::single);
    Environment only;
    for (const std::string& name : names)
      if (environment.contains(name)) only[name] = environment.at(name);
    EXPECT_EQ(find(only).sentence(), find(environment).sentence());
    EXPECT_EQ(find(only).source, source);
  }
  EXPECT_TRUE(variables_of(Source::single).empty());
  EXPECT_EQ(variables_of(Source::flags), (std::vector<std::string>{"MASTER_ADDR", "MASTER_PORT"}));
}

}  // namespace
}  // namespace hg
