#include "train/bench.h"

#include <algorithm>

#include "core/clock.h"
#include "core/random.h"
#include "data/packer.h"
#include "ops/linear.h"
#include "train/machine.h"
#include "train/optimizer.h"

namespace hg {
namespace {

struct Size {
  std::string_view name;
  std::int64_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, seq_len, sequences;
};
constexpr Size kSizes[] = {
    {"tiny", 4, 128, 4, 4, 32, 384, 256, 256, 16},
    {"small", 6, 384, 6, 2, 64, 1024, 4096, 512, 8},
    {"medium", 12, 768, 12, 4, 64, 2048, 32000, 1024, 4},
};

/// Sequences of random tokens, a document each.
HostBatch random_batch(const RunConfig& config, std::uint64_t index) {
  const std::int64_t length = config.training.seq_len;
  const std::int64_t tokens = length * config.training.micro_batch_size;
  const RandomStream stream(1, "bench tokens");
  const auto token = [&](std::int64_t i) {
    const std::uint64_t bits =
        stream.bits(index * static_cast<std::uint64_t>(tokens + 1) + static_cast<std::uint64_t>(i));
    return static_cast<std::int32_t>(bits % static_cast<std::uint64_t>(config.model.vocab_size));
  };
  HostBatch batch(tokens);
  batch.longest = length;
  for (std::int64_t t = 0; t < tokens; ++t) {
    batch.tokens.push_back(token(t));
    batch.targets.push_back(token(t + 1));
    batch.positions.push_back(static_cast<std::int32_t>(t % length));
    if (t % length == 0) batch.documents.push_back(static_cast<std::int32_t>(t));
  }
  batch.documents.push_back(static_cast<std::int32_t>(tokens));
  return batch;
}

double mean(const Tensor& values) {
  double sum = 0;
  for (std::int64_t i = 0; i < values.numel(); ++i) sum += double{values.as<float>()[i]};
  return sum / static_cast<double>(values.numel());
}

}  // namespace

RunConfig bench_config(std::string_view name) {
  const auto* size = std::ranges::find(kSizes, name, &Size::name);
  HG_CHECK(size != std::end(kSizes), "bench size '{}', expected tiny, small or medium", name);
  RunConfig config;
  config.name = std::string(name);
  config.model.vocab_size = size->vocab;
  config.model.hidden_size = size->hidden;
  config.model.num_hidden_layers = size->layers;
  config.model.num_attention_heads = size->heads;
  config.model.num_key_value_heads = size->kv_heads;
  config.model.head_dim = size->head_dim;
  config.model.intermediate_size = size->ffn;
  config.model.max_position_embeddings = size->seq_len;
  config.model.tie_word_embeddings = false;
  config.training.seq_len = size->seq_len;
  config.training.micro_batch_size = config.training.global_batch_size = size->sequences;
  return config;
}

double measure_gemm_ceiling(const CpuInfo& cpu, DType dtype) {
  constexpr std::int64_t kRows = 2048, kWidth = 1024;
  Context ctx;
  ctx.cpu = cpu;
  Arena memory("gemm ceiling");
  const auto lay_out = [&] {
    return LinearForward{.y = memory.allocate("y", dtype, {kRows, kWidth}),
                         .x = memory.allocate("x", dtype, {kRows, kWidth}),
                         .weight = memory.allocate("weight", dtype, {kWidth, kWidth})};
  };
  ctx.device = Device::meta;
  run(ctx, lay_out());
  memory.release(0);
  memory.reserve(memory.high_water());
  ctx.scratch.reserve(ctx.scratch.high_water());
  ctx.device = Device::cpu;
  const LinearForward product = lay_out();  // of zeros: the processor does not care
  double best = 1e9;
  // Long enough for a moment in which nothing else runs: a ceiling must not depend on the
  // neighbours.
  constexpr double kSeconds = 0.7;
  const auto begin = Clock::now();
  for (int i = 0; i < 20 || seconds_since(begin) < kSeconds; ++i) {
    const auto start = Clock::now();
    run(ctx, product);
    if (i > 1) best = std::min(best, seconds_since(start));
  }
  return product.cost().flops / best;
}

BenchResult bench_training(const RunConfig& config, const CpuInfo& cpu, std::int64_t warmup,
                           std::int64_t steps) {
  BenchResult result;
  result.steps = steps;
  result.gemm_ceiling = measure_gemm_ceiling(cpu, compute_dtype(config.training.precision, cpu));
  const StepPlan plan = plan_step(config, cpu);
  result.planned = plan.total_bytes();
  result.flops = plan.trace.total().cost.flops;
  const auto model = make_training_model(config, cpu, plan);
  model->store.initialize(1);
  refresh_working(model->ctx, model->store);

  const std::int64_t tokens = config.training.micro_batch_size * config.training.seq_len;
  const TokenLosses losses = allocate_losses(model->tables, tokens);
  std::vector<HostBatch> batches;
  for (std::uint64_t i = 0; i < 8; ++i) batches.push_back(random_batch(config, i));

  std::vector<double> seconds;
  for (std::int64_t i = 0; i < warmup + steps; ++i) {
    model->ctx.trace = i < warmup ? nullptr : &result.trace;
    const auto start = Clock::now();
    const HostBatch& batch = batches[static_cast<std::size_t>(i % 8)];
    model->model.forward_backward(model->ctx, batch.view(), config.training.recompute, 0, false,
                                  losses);
    const double norm = gradient_norm(model->ctx, model->store) / static_cast<double>(tokens);
    const double clip = std::min(1.0, config.training.max_grad_norm / norm);
    adamw_step(model->ctx, model->store, config.optimizer, config.optimizer.lr,
               clip / static_cast<double>(tokens), i + 1);
    if (i >= warmup) seconds.push_back(seconds_since(start));
    result.last_loss = mean(losses.loss);
    if (i == 0) result.first_loss = result.last_loss;
  }
  std::ranges::sort(seconds);
  result.seconds = seconds[seconds.size() / 2];
  result.least = seconds.front();
  result.most = seconds.back();
  result.tokens_per_second = static_cast<double>(tokens) / result.seconds;
  result.peak_rss = peak_rss_bytes();
  return result;
}

}  // namespace hg
