// A training run from its config to its last line: opens the data, plans and takes memory, resumes
// or initialises, writes the run folder, and lets the trainer go.
#pragma once

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

#include "core/gpu_module.h"
#include "dist/comm.h"
#include "dist/nccl/api.h"
#include "train/config.h"
#include "train/trainer.h"

namespace hg {

/// Where a rank gets its GPU from, and NCCL.
struct GpuOptions {
  int device = 0;                     // the rank's GPU, counted from the first of its machine
  const GpuModule* module = nullptr;  // null: libheadgate_cuda.so
  const NcclApi* nccl = nullptr;      // null: libheadgate_nccl.so
};

struct SessionOptions {
  std::filesystem::path folder;  // of the run
  std::string resolved_config;   // written into it, with the origins of values
  std::FILE* console;            // progress and metrics for the person who watches; may be nullptr
  Comm* world = nullptr;         // all ranks, for memory of the host; null for one alone
  GpuOptions gpu = {};           // for training.device cuda
  // FLOP/s that mfu is a share of, 0 for no mfu. Absent: those of all GPUs by their data sheet, 0
  // if that is not known; on a processor what products reach there, measured for most of a second.
  std::optional<double> peak_flops = {};
};

struct SessionSummary {
  std::int64_t steps = 0, tokens = 0;  // of this process
  double seconds = 0;
  double first_validation_loss = 0, last_validation_loss = 0;  // NaN without validation data
  std::filesystem::path checkpoint;
};

/// Runs the whole of `config`; with a world, as one of its ranks, of which rank 0 writes. Throws on
/// bad input before anything is written, and with everything already written intact afterwards.
SessionSummary train(const RunConfig& config, const SessionOptions& options);

}  // namespace hg
