// Where a rank of a run stands: its GPU, its place in the mesh and the samples it takes.
#pragma once

#include <memory>
#include <optional>

#include "core/gpu_module.h"
#include "data/loader.h"
#include "dist/comm.h"
#include "dist/mesh.h"
#include "dist/nccl/api.h"
#include "train/config.h"

namespace hg {

/// Where a rank gets its GPU from, and NCCL.
struct GpuOptions {
  int device = 0;                     // of those that it sees, if there are several
  const GpuModule* module = nullptr;  // null: libheadgate_cuda.so
  const NcclApi* nccl = nullptr;      // null: libheadgate_nccl.so
};

/// The rank's GPU, if the run is to compute on one; else null.
std::shared_ptr<GpuStream> open_gpu(const RunConfig& config, const GpuOptions& options);

/// Where this rank stands, and what it talks through.
class RankPlace {
 public:
  /// `world`: all ranks, for memory of the host; null for one alone. Collective.
  RankPlace(const RunConfig& config, Comm* world, const GpuOptions& options,
            const std::shared_ptr<GpuStream>& gpu);
  const Mesh& mesh() const { return mesh_; }

 private:
  std::optional<MeshComms> comms_;
  Mesh mesh_;
};

/// What this rank loads of a run that begins with this sample.
LoaderOptions loader_options(const RunConfig& config, const Mesh& mesh, std::int64_t first_sample);

}  // namespace hg
