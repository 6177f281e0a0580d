#include "train/doctor/doctor_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "core/parallel.h"
#include "dist/comm_self.h"
#include "dist/cpu_share.h"
#include "dist/run_ranks.h"
#include "support/small_run.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(DoctorFacts, OfThisNode) {
  const char* const variables[] = {"WORLD_SIZE=1", "RANK=0",       "RANKS=7", "NCCL_DEBUG=INFO",
                                   "NCCL_X=a=b",   "MASTER_ADDR=", nullptr};
  World world;
  world.source = World::Source::torchrun;
  RankFacts facts;
  add_node_facts(facts, world, variables);
  EXPECT_EQ(facts.source, world.sentence());
  EXPECT_THAT(facts.variables, ElementsAre("MASTER_ADDR=", "RANK=0", "WORLD_SIZE=1"));
  EXPECT_THAT(facts.device_variables,
              ElementsAre(Pair("NCCL_DEBUG", "INFO"), Pair("NCCL_X", "a=b")));
  EXPECT_EQ(facts.host, host_name());
  EXPECT_EQ(facts.cpus, usable_cpus());
  EXPECT_EQ(facts.threads, num_threads());
  EXPECT_GT(facts.memory_available, 0);
  EXPECT_FALSE(facts.build.empty());
  EXPECT_FALSE(facts.processor.empty());
}

TEST(DoctorFacts, TravelWhole) {
  run_ranks(2, [](Comm& world) {
    RankFacts own;
    own.host = "host " + std::to_string(world.rank());
    own.cpus = {world.rank(), 7};
    own.cpu_quota = 1.5;
    own.memory_available = std::int64_t{1} << 40;
    own.device_variables = {{"NCCL_DEBUG", "\xff\n"}};
    own.has_config = world.rank() == 1;
    own.data_error = "two\nlines";
    const auto all = gather_facts(world, own);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[1].host, "host 1");
    EXPECT_THAT(all[1].cpus, ElementsAre(1, 7));
    EXPECT_EQ(all[0].cpu_quota, 1.5);
    EXPECT_EQ(all[0].memory_available, std::int64_t{1} << 40);
    EXPECT_TRUE(all[1].has_config && !all[0].has_config);
    EXPECT_EQ(all[0].data_error, "two\nlines");
  });
}

class DoctorConfigFacts : public SmallRun {
 protected:
  RankFacts facts(int ranks) const {
    RankFacts facts;
    add_config_facts(facts, config, to_yaml(config), 0, ranks);
    return facts;
  }
};

TEST_F(DoctorConfigFacts, OfARunThatFits) {
  config.training.threads = 3;
  const RankFacts one = facts(2);
  EXPECT_EQ(one.layout_error, "");
  EXPECT_EQ(one.data_error, "");
  EXPECT_EQ(one.layout, "data 2 x tensor 1, ZeRO stage 1");
  EXPECT_EQ(one.precision, "f32");
  EXPECT_EQ(one.threads, 3);
  EXPECT_THAT(one.data, HasSubstr("tokens_train with "));
  EXPECT_THAT(one.data, HasSubstr("tokenizer byte"));
  // What a run of one rank writes is what is expected of its checkpoints.
  run("run");
  std::int64_t written = 0;
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    written += static_cast<std::int64_t>(fs::file_size(checkpoint("run", "step-00000012") / file));
  EXPECT_GT(written, one.checkpoint_bytes);
  EXPECT_LT(written, one.checkpoint_bytes + (1 << 14));  // headers
  EXPECT_EQ(one.kept_bytes, 3 * one.checkpoint_bytes);
  EXPECT_GT(one.plan_bytes, one.checkpoint_bytes);
}

TEST_F(DoctorConfigFacts, CheckpointsThatStayCount) {
  config.training.steps = 100;
  config.checkpoint.keep = 2;
  config.checkpoint.interval = 6;
  config.checkpoint.keep_every = 8;
  const RankFacts one = facts(1);
  EXPECT_EQ(one.kept_bytes, (3 + 100 / 24) * one.checkpoint_bytes) << "steps 24, 48, 72 and 96";
}

TEST_F(DoctorConfigFacts, OnAGpuThePrecisionIsTheGpus) {
  config.training.device = Device::cuda;
  config.training.precision = Precision::automatic;
  EXPECT_EQ(facts(1).precision, "bf16");
}

TEST_F(DoctorConfigFacts, OfOneThatDoesNot) {
  config.parallelism.tensor = 4;
  config.data.train = (folder / "none").string();
  const RankFacts one = facts(4);
  EXPECT_THAT(one.layout_error, HasSubstr("model.num_key_value_heads = 2 does not divide by"));
  EXPECT_THAT(one.layout_error, HasSubstr("; "));  // one line, whatever the sentences
  EXPECT_EQ(one.layout_error.find('\n'), std::string::npos);
  EXPECT_THAT(one.data_error, HasSubstr("none.idx"));
  config.data.train = (folder / "tokens_train").string();
  config.model.vocab_size = 200;
  EXPECT_THAT(facts(1).data_error, HasSubstr("257 ids, more than model.vocab_size = 200"));
}

/// Facts of the folders that ranks name, by rank.
std::vector<RankFacts> look_at(const std::vector<fs::path>& folders) {
  std::vector<RankFacts> all(folders.size());
  run_ranks(static_cast<int>(folders.size()), [&](Comm& world) {
    const auto r = static_cast<std::size_t>(world.rank());
    add_folder_facts(all[r], world, folders[r]);
  });
  return all;
}

TEST(DoctorFolder, IsSeenByAllAndLeftAsItWas) {
  const TempFolder folder;
  for (const fs::path& run : {folder.path(), folder / "not/yet/there"}) {
    for (const RankFacts& one : look_at({run, run, run})) {
      EXPECT_EQ(one.folder_error, "");
      EXPECT_GT(one.disk_available, 0);
      EXPECT_EQ(one.folder, run.string());
    }
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
}

TEST(DoctorFolder, ThatIsAnotherOneElsewhereIsNoticed) {
  const TempFolder shared, local;
  fs::create_directory(local / "run");  // rank 1's is further along: still another one
  const auto all = look_at({shared / "run", local / "run", shared / "run"});
  EXPECT_EQ(all[0].folder_error, "");
  EXPECT_THAT(all[1].folder_error, HasSubstr("does not show here what rank 0 has written"));
  EXPECT_EQ(all[2].folder_error, "");
}

TEST(DoctorFolder, ThatCannotBeWrittenIsNamed) {
  const TempFolder folder;
  std::ofstream(folder / "file") << "no folder";
  auto all = look_at({folder / "file/run", folder / "file/run"});
  EXPECT_THAT(all[0].folder_error, HasSubstr("file is not a folder"));
  EXPECT_EQ(all[1].folder_error, "");  // rank 0 says it
  all = look_at({"/proc/run"});
  EXPECT_THAT(all[0].folder_error, HasSubstr("/proc/.headgate-doctor-"));
}

}  // namespace
}  // namespace hg::test
