// Measures training steps on random tokens: what `headgate bench` prints.
#pragma once

#include <optional>
#include <string_view>

#include "train/config.h"
#include "train/run_model.h"

namespace hg {

/// A built-in benchmark size: tiny, small or medium; tiny-moe or small-moe, with experts of which a
/// token takes as many parameters as there are in the dense layers of tiny and small; throws for
/// another name. All are gated elementwise, 4096 tokens a step, with an untied head.
RunConfig bench_config(std::string_view size);

/// What it costs to look at a step as metrics.instrument_interval has it, with every instrument.
struct LookCost {
  double seconds = 0;  // of a look: the median of what steps with one took more than those before
  double details_seconds = 0;  // of what metrics.details_interval adds on the host: the median
  std::int64_t interval = 0, details_interval = 0;
  Trace trace;  // of the steps that were looked at

  /// Of the time of a run whose steps take `step_seconds`.
  double share(double step_seconds) const;
};

struct BenchResult {
  double seconds = 0;          // of a step: the median
  double least = 0, most = 0;  // seconds of the fastest and slowest step
  double tokens_per_second = 0;
  double flops = 0;         // executed by one step's ops, from their costs
  double gemm_ceiling = 0;  // FLOP/s of a large matrix product in the same precision, just measured
  double first_loss = 0, last_loss = 0;  // nats a token
  std::int64_t peak_rss = 0;             // bytes
  std::size_t planned = 0;               // bytes that the meta run asked for
  Trace trace;                           // of all measured steps
  std::int64_t steps = 0;
  std::optional<LookCost> look;  // if asked for
};

/// Runs `warmup` steps and then measures `steps`, a micro-batch and an optimizer step each; with
/// `instruments` as many again, in turns with them, that are looked at. On a GPU, ops are traced in
/// as many more, in which each is waited for.
BenchResult bench_training(const RunConfig& config, const CpuInfo& cpu, std::int64_t warmup,
                           std::int64_t steps, bool instruments = false,
                           const std::shared_ptr<GpuStream>& gpu = nullptr);

/// Steps of two models in turns, so that both meet the same neighbours.
struct StepRatio {
  double seconds, other_seconds;  // of a step: medians
  double ratio, least, most;      // seconds over other_seconds, step by step: the median, extremes
};
StepRatio bench_ratio(const RunConfig& config, const RunConfig& other, const CpuInfo& cpu,
                      std::int64_t warmup, std::int64_t steps);

}  // namespace hg
