// Opens GPUs and connects ranks as a config says.
#include "train/rank_place.h"

#include <algorithm>

#include "core/gpu_facts.h"
#include "core/log.h"
#include "dist/comm_nccl.h"
#include "dist/cpu_share.h"
#include "dist/gather_text.h"
#include "dist/gpu_waits.h"
#include "train/layout.h"

namespace hg {
namespace {

/// NCCL would only call it an invalid usage.
void check_gpus_differ(Comm& host, const GpuStream& gpu) {
  const std::string own = fmt::format("GPU {} of {}", facts_of(gpu).address, host_name());
  const std::vector<std::string> all = gather_text(host, own, "GPUs");
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const auto first = static_cast<std::size_t>(std::ranges::find(all, all[rank]) - all.begin());
    HG_CHECK(first == rank, "ranks {} and {} both compute on {}, expected one rank for each GPU",
             first, rank, all[rank]);
  }
}

/// NCCL's worlds of all ranks, one for each of two streams.
GpuWorlds connect_gpus(Comm& host, const std::shared_ptr<GpuStream>& gpu,
                       const GpuOptions& options) {
  check_gpus_differ(host, *gpu);
  const NcclApi& nccl = options.nccl != nullptr ? *options.nccl : load_nccl();
  GpuWorlds worlds{
      .compute = gpu, .background = gpu->another(), .world = {}, .background_world = {}};
  const auto connect = [&](const GpuStream& stream) {
    return nccl_world(nccl, peers_over(host),
                      {.device = stream.device(), .stream = stream.handle()});
  };
  worlds.world = connect(*worlds.compute);
  worlds.background_world = connect(*worlds.background);
  const auto watch = waits_into(
      host.shared_record(),
      {worlds.world->shared_record(), worlds.background_world->shared_record()}, gpu->device());
  for (const auto& stream : {worlds.compute, worlds.background}) stream->watch_waits(watch);
  return worlds;
}

}  // namespace

std::shared_ptr<GpuStream> open_gpu(const RunConfig& config, const GpuOptions& options) {
  if (config.training.device != Device::cuda) return nullptr;
  HG_CHECK(config.parallelism.pipeline == 1,
           "training.device cuda does not do pipelines yet: parallelism.pipeline is {}, expected 1",
           config.parallelism.pipeline);
  const GpuModule& module = options.module != nullptr ? *options.module : load_gpu_module();
  // Launchers may show each rank its own GPU alone, which is then the first and only one.
  const int device = module.count() == 1 ? 0 : options.device;
  auto gpu = module.open(device);
  log_info("GPU {}: {}", device, gpu->description());
  return gpu;
}

RankPlace::RankPlace(const RunConfig& config, Comm* world, const GpuOptions& options,
                     const std::shared_ptr<GpuStream>& gpu) {
  const MeshShape shape = layout_of(config, world == nullptr ? 1 : world->size());
  if (world == nullptr || world->size() == 1) return;
  comms_.emplace(*world, shape, gpu ? connect_gpus(*world, gpu, options) : GpuWorlds());
  mesh_ = comms_->mesh();
  log_info("{} ranks: {}, ZeRO stage {}", shape.size(), shape.to_string(),
           config.parallelism.zero_stage);
}

LoaderOptions loader_options(const RunConfig& config, const Mesh& mesh, std::int64_t first_sample) {
  return {.seed = static_cast<std::uint64_t>(config.training.seed),
          .seq_len = config.training.seq_len,
          .sequences = config.training.micro_batch_size,
          .first_sample = first_sample,
          .order = SampleOrder::random,
          .rank = mesh.data.rank,
          .ranks = mesh.data.size,
          .part = mesh.context.rank,
          .parts = mesh.context.size};
}

}  // namespace hg
