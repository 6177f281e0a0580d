#include "train/bench/bench.h"

#include <algorithm>

#include "core/median.h"
#include "train/bench/bench_steps.h"
#include "train/machine.h"
#include "train/predict/gemm_ceiling.h"

namespace hg {
namespace {

struct Size {
  std::string_view name;
  std::int64_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, seq_len, sequences;
  std::int64_t experts = 0, top_k = 0;  // which together are as wide as a dense layer
};
constexpr Size kSizes[] = {
    {"tiny", 4, 128, 4, 4, 32, 384, 256, 256, 16},
    {"small", 6, 384, 6, 2, 64, 1024, 4096, 512, 8},
    {"tiny-moe", 4, 128, 4, 4, 32, 384, 256, 256, 16, 8, 2},
    {"small-moe", 6, 384, 6, 2, 64, 1024, 4096, 512, 8, 32, 4},
    {"medium", 12, 768, 12, 4, 64, 2048, 32000, 1024, 4},
};

}  // namespace

RunConfig bench_config(std::string_view name) {
  const auto* size = std::ranges::find(kSizes, name, &Size::name);
  HG_CHECK(size != std::end(kSizes),
           "bench size '{}', expected tiny, small, medium, tiny-moe or small-moe", name);
  RunConfig config;
  config.name = std::string(name);
  config.model.vocab_size = size->vocab;
  config.model.hidden_size = size->hidden;
  config.model.num_hidden_layers = size->layers;
  config.model.num_attention_heads = size->heads;
  config.model.num_key_value_heads = size->kv_heads;
  config.model.head_dim = size->head_dim;
  config.model.intermediate_size = size->ffn;
  if (size->experts > 0) {
    config.model.moe.num_experts = size->experts;
    config.model.moe.top_k = size->top_k;
    config.model.moe.expert_intermediate_size = size->ffn / size->top_k;
    config.model.moe.aux_loss_coef = 1e-2;
    config.model.moe.z_loss_coef = 1e-3;
  }
  config.model.max_position_embeddings = size->seq_len;
  config.model.tie_word_embeddings = false;
  config.training.seq_len = size->seq_len;
  config.training.micro_batch_size = config.training.global_batch_size = size->sequences;
  return config;
}

double LookCost::share(double step_seconds) const {
  return (seconds / static_cast<double>(interval) +
          details_seconds / static_cast<double>(details_interval)) /
         step_seconds;
}

BenchResult bench_training(const RunConfig& config, const CpuInfo& cpu, std::int64_t warmup,
                           std::int64_t steps, bool instruments,
                           const std::shared_ptr<GpuStream>& gpu) {
  HG_CHECK(!instruments || config.metrics.instrument_interval > 0,
           "metrics.instrument_interval is 0: a run with this config never looks at a step");
  BenchResult result;
  result.steps = steps;
  result.gemm_ceiling = measure_gemm_ceiling(
      cpu, compute_dtype(config.training.precision, cpu, config.training.device), gpu);
  const StepPlan plan = plan_step(config, cpu);
  result.planned = plan.total_bytes();
  result.flops = plan.trace.total().cost.flops + plan.update_trace.total().cost.flops;
  BenchSteps run(config, cpu, plan, gpu);
  std::optional<Instruments> look;
  if (instruments) {
    look.emplace(run.make_instruments());
    result.look.emplace();
    result.look->interval = config.metrics.instrument_interval;
    result.look->details_interval = config.metrics.details_interval;
  }

  for (std::int64_t i = 0; i < warmup; ++i) {
    run.next(nullptr, look ? &*look : nullptr);
    if (i == 0) result.first_loss = run.loss();
  }
  std::vector<double> seconds, of_looks, of_details;
  for (std::int64_t i = 0; i < steps; ++i) {
    seconds.push_back(run.next(gpu ? nullptr : &result.trace));
    if (gpu) run.next(&result.trace);
    if (i == 0 && warmup == 0) result.first_loss = run.loss();
    result.last_loss = run.loss();
    if (!look) continue;
    of_looks.push_back(run.next(&result.look->trace, &*look) - seconds.back());
    of_details.push_back(run.details(*look));
  }
  if (look) {
    result.look->seconds = median(of_looks);
    result.look->details_seconds = median(of_details);
  }
  result.seconds = median(seconds);
  result.least = std::ranges::min(seconds);
  result.most = std::ranges::max(seconds);
  result.tokens_per_second =
      static_cast<double>(config.training.micro_batch_size * config.training.seq_len) /
      result.seconds;
  result.peak_rss = peak_rss_bytes();
  return result;
}

StepRatio bench_ratio(const RunConfig& config, const RunConfig& other, const CpuInfo& cpu,
                      std::int64_t warmup, std::int64_t steps) {
  BenchSteps run(config, cpu, plan_step(config, cpu)), against(other, cpu, plan_step(other, cpu));
  std::vector<double> seconds, other_seconds, ratios;
  for (std::int64_t i = -warmup; i < steps; ++i) {
    const double a = run.next(nullptr), b = against.next(nullptr);
    if (i < 0) continue;
    seconds.push_back(a);
    other_seconds.push_back(b);
    ratios.push_back(a / b);
  }
  return {.seconds = median(seconds),
          .other_seconds = median(other_seconds),
          .ratio = median(ratios),
          .least = std::ranges::min(ratios),
          .most = std::ranges::max(ratios)};
}

}  // namespace hg
