#include "train/doctor/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hg::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::int64_t kGi = std::int64_t{1} << 30;

/// Ranks that have nothing to complain about: two on each host, with a config.
std::vector<RankFacts> healthy(int count) {
  std::vector<RankFacts> ranks(static_cast<std::size_t>(count));
  for (int r = 0; r < count; ++r) {
    RankFacts& one = ranks[static_cast<std::size_t>(r)];
    one.source = "rank 0 of 4, by Slurm";
    one.variables = {"SLURM_PROCID=0"};
    one.local_size = 2;
    one.host = r < 2 ? "gpu01" : "gpu02";
    one.build = "1.0 (abc)";
    one.processor = "Fast (AVX-512)";
    one.cpus = r % 2 == 0 ? std::vector{0, 1, 2, 3} : std::vector{4, 5, 6, 7};
    one.node_cpus = 8;
    one.threads = 4;
    one.memory_available = 64 * kGi;
    one.has_config = true;
    one.config_hash = "1234";
    one.precision = "bf16";
    one.layout = "data 4 x tensor 1";
    one.plan_bytes = 8 * kGi;
    one.checkpoint_bytes = 12 * kGi;
    one.kept_bytes = 36 * kGi;
    one.data = "train with 1000 tokens";
    one.folder = "runs/x";
    one.disk_available = 500 * kGi;
  }
  return ranks;
}

Finding find(const std::vector<Finding>& findings, const std::string& subject) {
  for (const Finding& finding : findings)
    if (finding.subject == subject) return finding;
  ADD_FAILURE() << "nothing is said of " << subject;
  return {};
}

void expect(const Finding& finding, Severity severity, const std::string& words) {
  EXPECT_EQ(finding.severity, severity) << finding.text;
  EXPECT_THAT(finding.text, HasSubstr(words));
  EXPECT_THAT(finding.text, Not(HasSubstr("\n")));
}

TEST(Doctor, HealthyRanksGetOneLineEach) {
  const auto ranks = healthy(4);
  const auto nodes = judge_nodes(ranks), config = judge_config(ranks);
  for (const auto& findings : {nodes, config, {judge_folder(ranks)}})
    for (const Finding& finding : findings)
      EXPECT_EQ(finding.severity, Severity::ok) << finding.text;
  EXPECT_EQ(find(nodes, "world").text, "rank 0 of 4, by Slurm (SLURM_PROCID=0)");
  EXPECT_EQ(find(nodes, "nodes").text,
            "4 ranks on 2 nodes: gpu01 with ranks 0-1, gpu02 with ranks 2-3");
  EXPECT_EQ(find(nodes, "headgate").text, "1.0 (abc) on all ranks");
  EXPECT_EQ(find(nodes, "cores").text,
            "2 ranks use 8 of 8 CPUs, 4 each of their own, 4 threads each");
  EXPECT_EQ(find(config, "memory").text,
            "64 GiB available on gpu01, of which 2 ranks take 22 GiB; the tightest of 2 nodes");
  EXPECT_EQ(judge_folder(ranks).text,
            "runs/x: 500 GiB free, the same files on all ranks; a checkpoint takes 12 GiB, and the "
            "run at most 36 GiB");
  EXPECT_EQ(nodes.front().to_string(),
            "ok       world           rank 0 of 4, by Slurm (SLURM_PROCID=0)");
}

TEST(Doctor, NamesRanksThatDiffer) {
  auto ranks = healthy(4);
  ranks[3].build = "0.9 (old)";
  ranks[1].processor = "Slow (AVX2)";
  ranks[2].local_size = 4;
  const auto nodes = judge_nodes(ranks);
  expect(find(nodes, "headgate"), Severity::error, "0.9 (old) on rank 3; 1.0 (abc) on ranks 0-2");
  expect(find(nodes, "processor"), Severity::warning, "Slow (AVX2) on rank 1");
  expect(find(nodes, "nodes"), Severity::warning,
         "the launcher told rank 2 of 4 on its node, but gpu02 has 2");

  ranks = healthy(4);
  ranks[2].config_hash = "99";
  expect(find(judge_config(ranks), "config"), Severity::error,
         "hash 1234 on ranks 0-1, 3; 99 on rank 2");
  ranks = healthy(4);
  ranks[2].precision = "f32";
  expect(find(judge_config(ranks), "config"), Severity::error,
         "bf16 on ranks 0-1, 3; f32 on rank 2: name one");
  ranks[2].data = "train with 7 tokens";
  expect(find(judge_config(ranks), "data"), Severity::error, "train with 7 tokens on rank 2");
}

TEST(Doctor, SaysWhatFailedAndWhere) {
  auto ranks = healthy(4);
  for (RankFacts& one : ranks) one.layout_error = "heads do not divide";
  ranks[1].data_error = "cannot open x.idx";
  const auto config = judge_config(ranks);
  expect(find(config, "layout"), Severity::error, "heads do not divide");
  expect(find(config, "data"), Severity::error, "rank 1: cannot open x.idx");
  EXPECT_TRUE(std::ranges::none_of(config, [](const auto& f) { return f.subject == "memory"; }));

  ranks[3].config_error = "cannot open c.yaml";
  const auto unreadable = judge_config(ranks);
  ASSERT_EQ(unreadable.size(), 1U);
  expect(unreadable.front(), Severity::error, "rank 3: cannot open c.yaml");
  for (RankFacts& one : ranks) one.has_config = false;
  EXPECT_THAT(judge_config(ranks), IsEmpty());
}

TEST(Doctor, CoresThatAreSharedOrIdle) {
  const auto cores = [](std::vector<RankFacts> ranks) { return find(judge_nodes(ranks), "cores"); };
  auto ranks = healthy(2);
  ranks[0].cpus = ranks[1].cpus = {0, 1, 2, 3};
  expect(cores(ranks), Severity::warning,
         "2 ranks share 4 of 8 CPUs, 4 threads each; there are more threads");
  for (RankFacts& one : ranks) one.threads = 2, one.node_cpus = 7;
  expect(cores(ranks), Severity::ok, "2 ranks share 4 of 7 CPUs, 2 threads each");
  ranks = healthy(2);
  ranks[0].threads = 5;
  expect(cores(ranks), Severity::warning, "4 to 5 threads each; there are more threads than CPUs");
  ranks = healthy(2);
  for (RankFacts& one : ranks) one.node_cpus = 64;
  expect(cores(ranks), Severity::warning, "most CPUs have nothing to do");
  ranks = healthy(2);
  for (RankFacts& one : ranks) one.cpu_quota = 4;
  expect(cores(ranks), Severity::warning, "the container may use 4.0 CPUs at once");
  ranks = healthy(4);
  ranks[3].threads = 9;
  expect(cores(ranks), Severity::warning, "(on gpu02)");
  expect(cores(ranks), Severity::warning, "4 threads each on gpu01");
}

TEST(Doctor, MemoryOfTheTightestNodeCounts) {
  auto ranks = healthy(4);
  const auto memory = [&] { return find(judge_config(ranks), "memory"); };
  ranks[2].memory_available = 22 * kGi - 1;
  expect(memory(), Severity::error, "22 GiB available on gpu02, of which 2 ranks take 22 GiB;");
  ranks[2].memory_available = 23 * kGi;
  expect(memory(), Severity::warning, "23 GiB available on gpu02");
  ranks[2].memory_available = 25 * kGi;
  expect(memory(), Severity::ok, "25 GiB available on gpu02");
}

TEST(Doctor, SpaceForCheckpoints) {
  auto ranks = healthy(4);
  ranks[2].disk_available = 35 * kGi;
  expect(judge_folder(ranks), Severity::warning, "35 GiB free");
  ranks[2].disk_available = 11 * kGi;
  expect(judge_folder(ranks), Severity::error, "11 GiB free");
  ranks[2].folder_error = "shows nothing";
  expect(judge_folder(ranks), Severity::error, "rank 2: shows nothing");
  for (RankFacts& one : ranks) one.folder_error = "", one.checkpoint_bytes = one.kept_bytes = 0;
  ranks[0].disk_available = 1000;
  expect(judge_folder(ranks), Severity::warning, "1000 B free");
  ranks[0].disk_available = 0;  // as where a disk is full: nothing can be written
  expect(judge_folder(ranks), Severity::error, "0 B free");
}

TEST(Doctor, DevicesThatAreNotAsManyAsRanks) {
  auto ranks = healthy(2);
  const auto devices = [&] { return find(judge_nodes(ranks), "devices"); };
  for (RankFacts& one : ranks) one.device_variables = {{"CUDA_VISIBLE_DEVICES", "0,1"}};
  expect(devices(), Severity::ok, "CUDA_VISIBLE_DEVICES=0,1 on all ranks");
  ranks[1].device_variables = {{"CUDA_VISIBLE_DEVICES", "0,1,2"}};
  expect(devices(), Severity::warning, "rank 1 sees 3 devices, but its node has 2 ranks");
  for (RankFacts& one : ranks) one.device_variables = {{"CUDA_VISIBLE_DEVICES", "0"}};
  expect(devices(), Severity::ok, "CUDA_VISIBLE_DEVICES=0 on all ranks");
  ranks[0].device_variables = {{"NCCL_DEBUG", "INFO"}};
  ranks[1].device_variables = {};
  expect(devices(), Severity::warning, "NCCL_DEBUG=INFO on rank 0; not set on rank 1");
  EXPECT_EQ(visible_devices(""), 0);
  EXPECT_EQ(visible_devices("0"), 1);
  EXPECT_EQ(visible_devices("GPU-1a,GPU-2b,3"), 3);
  EXPECT_EQ(visible_devices("0,-1,2"), 1);
  EXPECT_EQ(visible_devices("NoDevFiles"), 0);
}

TEST(Doctor, GpusAreOpenedAndTheirMemoryCounts) {
  auto ranks = healthy(4);
  EXPECT_THAT(judge_gpus(ranks), IsEmpty()) << "on CPUs";
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    ranks[r].wants_gpu = true;
    ranks[r].gpu = "NVIDIA H100, sm_90";
    ranks[r].gpu_address = r % 2 == 0 ? "0000:01:00.0" : "0000:02:00.0";
    ranks[r].gpu_available = 16 * kGi;
    ranks[r].plan_bytes = 12 * kGi;
    ranks[r].checkpoint_bytes = 8 * kGi;
  }
  expect(find(judge_gpus(ranks), "gpu"), Severity::ok, "NVIDIA H100, sm_90 on all ranks");
  expect(find(judge_gpus(ranks), "gpu memory"), Severity::ok,
         "16 GiB available on rank 0's, of which a run takes 12 GiB");
  expect(find(judge_config(ranks), "memory"), Severity::ok, "of which 2 ranks take 4.0 GiB");
  ranks[2].gpu_available = 13 * kGi;
  expect(find(judge_gpus(ranks), "gpu memory"), Severity::warning, "13 GiB available on rank 2's");
  ranks[2].gpu_available = 11 * kGi;
  expect(find(judge_gpus(ranks), "gpu memory"), Severity::error, "11 GiB available on rank 2's");
  ranks[3].gpu = "NVIDIA A100, sm_80";
  expect(find(judge_gpus(ranks), "gpu"), Severity::warning, "NVIDIA A100, sm_80 on rank 3");
  ranks[3].gpu_address = ranks[2].gpu_address;
  expect(find(judge_gpus(ranks), "gpu"), Severity::error,
         "ranks 2-3 all take GPU 0000:01:00.0 of gpu02");
  ranks[1].gpu_error = "there is no GPU";
  expect(find(judge_gpus(ranks), "gpu"), Severity::error, "rank 1: there is no GPU");
}

TEST(Doctor, ClocksAreComparedWithTheirUncertainty) {
  const std::vector<ClockOffset> near = {{0, 0}, {-2e-6, 5e-6}, {1e-6, 3e-6}};
  expect(judge_clocks(near), Severity::ok,
         "rank 1 is furthest from rank 0: -2.0 us, to within 5.0 us");
  const std::vector<ClockOffset> unsure = {{0, 0}, {0.2, 0.15}};
  EXPECT_EQ(judge_clocks(unsure).severity, Severity::ok);
  const std::vector<ClockOffset> late = {{0, 0}, {0.2, 0.05}};
  expect(judge_clocks(late), Severity::warning, "rank 1 is furthest from rank 0: +200 ms");
}

TEST(Doctor, PairsOnANodeAreNotComparedWithPairsBetweenNodes) {
  const auto ranks = healthy(4);
  std::vector<PairLink> pairs;
  for (int a = 0; a < 4; ++a) {
    for (int b = a + 1; b < 4; ++b) {
      const bool near = a / 2 == b / 2;
      pairs.push_back({a, b, near ? 1e-6 : 20e-6, near ? 20e9 : 1e9});
    }
  }
  auto findings = judge_pairs(pairs, ranks);
  ASSERT_EQ(findings.size(), 4U);
  for (const Finding& finding : findings) EXPECT_EQ(finding.severity, Severity::ok) << finding.text;
  expect(findings[0], Severity::ok,
         "1.0 us / 1.0 us / 1.0 us one way, 4 bytes (min / median / max of 2 pairs on one node)");
  expect(findings[3], Severity::ok,
         "1.00 / 1.00 / 1.00 GB/s each way at once (min / median / max of 4 pairs between nodes)");
  pairs[1].bandwidth = 0.2e9;  // ranks 0 and 2
  pairs[4].latency = 1e-3;     // ranks 1 and 3
  findings = judge_pairs(pairs, ranks);
  expect(findings[2], Severity::warning, "slowest ranks 1 and 3");
  expect(findings[3], Severity::warning, "0.20 / 1.00 / 1.00 GB/s");
  expect(findings[3], Severity::warning, "slowest ranks 0 and 2");
}

TEST(Doctor, CollectivesOfAKindShareALine) {
  const std::vector<CollectiveSpeed> speeds = {
      {CommKind::all_reduce, 4 << 20, 1e-3, 6e6},
      {CommKind::all_gather, 4 << 20, 1e-3, 3e6},
      {CommKind::all_reduce, 64 << 20, 0.2, 1e8},
  };
  const auto findings = report_collectives(speeds);
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].subject, "all_reduce");
  EXPECT_EQ(findings[0].text, "4.0 MiB: 6.00 GB/s (1.0 ms); 64 MiB: 0.50 GB/s (200 ms)");
}

}  // namespace
}  // namespace hg::test
