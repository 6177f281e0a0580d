// What each rank sees of its node, its config and its files before a run: the facts that
// train/doctor/doctor.h judges.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "dist/comm.h"
#include "dist/world.h"
#include "train/config.h"
#include "train/rank_place.h"

namespace hg {

/// Of one rank. Where something failed, the sentence is in `..._error` and the rest of that group
/// says nothing.
struct RankFacts {
  // Its place, as the launcher says.
  std::string source;                  // World::sentence()
  std::vector<std::string> variables;  // those it follows from, "NAME=value"
  int local_size = 1;

  // Its node.
  std::string host, build, processor;
  std::vector<int> cpus;  // usable_cpus()
  int node_cpus = 0;      // of the whole machine
  double cpu_quota = 0;   // cpu_quota()
  int threads = 0;        // that training would use
  std::int64_t memory_available = 0;
  std::map<std::string, std::string> device_variables;  // NCCL_..., CUDA_VISIBLE_DEVICES

  // Its GPU, if the run is to compute on one.
  bool wants_gpu = false;
  std::string gpu_error, gpu, gpu_address;  // GpuStream::description(), GpuFacts::address
  std::int64_t gpu_available = 0;           // of its memory

  // The config, if one was named.
  bool has_config = false;
  std::string config_error, config_hash, precision;
  std::string layout_error, layout;
  std::int64_t plan_bytes = 0;        // that this rank allocates
  std::int64_t checkpoint_bytes = 0;  // of one checkpoint
  std::int64_t kept_bytes = 0;        // of those that are there while the next one is written
  std::string data_error, data;

  // The run folder.
  std::string folder, folder_error;
  std::int64_t disk_available = 0;

  static void fields(auto& self, auto&& f) {
    f("source", self.source), f("variables", self.variables), f("local_size", self.local_size);
    f("host", self.host), f("build", self.build), f("processor", self.processor);
    f("cpus", self.cpus), f("node_cpus", self.node_cpus), f("cpu_quota", self.cpu_quota);
    f("threads", self.threads), f("memory_available", self.memory_available);
    f("device_variables", self.device_variables);
    f("wants_gpu", self.wants_gpu), f("gpu_error", self.gpu_error), f("gpu", self.gpu);
    f("gpu_address", self.gpu_address), f("gpu_available", self.gpu_available);
    f("has_config", self.has_config), f("config_error", self.config_error);
    f("config_hash", self.config_hash), f("precision", self.precision);
    f("layout_error", self.layout_error), f("layout", self.layout);
    f("plan_bytes", self.plan_bytes), f("checkpoint_bytes", self.checkpoint_bytes);
    f("kept_bytes", self.kept_bytes), f("data_error", self.data_error), f("data", self.data);
    f("folder", self.folder), f("folder_error", self.folder_error);
    f("disk_available", self.disk_available);
  }
};

/// Of this process and its node, in a world that was found in `variables`, which are "NAME=value"
/// up to a null, as in environ.
void add_node_facts(RankFacts& facts, const World& world, const char* const* variables);

/// The GPU that a run with this config would compute on, if it would.
void add_gpu_facts(RankFacts& facts, const RunConfig& config, const GpuOptions& options);

/// Layout, plan and data of a config; `resolved` is what ranks compare.
void add_config_facts(RankFacts& facts, const RunConfig& config, const std::string& resolved,
                      int rank, int ranks);

/// Whether rank 0 can write where `folder` is or would be made, and this rank sees what it wrote,
/// and the space there. Leaves nothing behind. Collective.
void add_folder_facts(RankFacts& facts, Comm& world, const std::filesystem::path& folder);

/// All ranks' facts, by rank, on every rank. Collective.
std::vector<RankFacts> gather_facts(Comm& world, const RankFacts& facts);

}  // namespace hg
