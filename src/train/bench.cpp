#include "train/bench.h"

#include <algorithm>

#include "core/clock.h"
#include "core/random.h"
#include "data/packer.h"
#include "data/tokenizer.h"
#include "ops/linear.h"
#include "train/gate_rows.h"
#include "train/instrument_rows.h"
#include "train/machine.h"
#include "train/metrics.h"
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

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// A model that steps through the same few batches again and again.
class Steps {
 public:
  Steps(const RunConfig& config, const CpuInfo& cpu, const StepPlan& plan)
      : config_(config),
        tokens_(config.training.micro_batch_size * config.training.seq_len),
        run_(make_training_model(config, cpu, plan)),
        losses_(allocate_losses(run_->tables, tokens_)) {
    run_->store.initialize(1);
    refresh_working(run_->ctx, run_->store);
    for (std::uint64_t i = 0; i < 8; ++i) batches_.push_back(random_batch(config, i));
  }

  Instruments make_instruments() { return {config_.model, tokens_, run_->tables}; }
  double loss() const { return mean(losses_.loss); }

  /// Seconds of one more step, whose ops go into a trace if there is one.
  double next(Trace* trace, const Instruments* look = nullptr) {
    run_->ctx.trace = trace;
    const auto start = Clock::now();
    const HostBatch& batch = batches_[static_cast<std::size_t>(steps_++) % batches_.size()];
    run_->model.forward_backward(run_->ctx, batch.view(), config_.training.recompute, 0, false,
                                 losses_, look);
    const auto tokens = static_cast<double>(tokens_);
    const double norm = gradient_norm(run_->ctx, run_->store) / tokens;
    const double scale = std::min(1.0, config_.training.max_grad_norm / norm) / tokens;
    adamw_step(run_->ctx, run_->store, config_.optimizer, config_.optimizer.lr, scale, steps_);
    if (look != nullptr) make_row(*look, scale);
    return seconds_since(start);
  }

  /// Seconds of what a look with details makes beside the row.
  double details(const Instruments& look) const {
    const auto tokenizer = load_tokenizer("byte");
    std::vector<std::int32_t> ids = batches_.front().tokens;
    for (std::int32_t& id : ids) id %= static_cast<std::int32_t>(tokenizer->vocab_size());
    const auto start = Clock::now();
    gate_histograms(look);
    instrument_details(look, ids, *tokenizer)
        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return seconds_since(start);
  }

 private:
  /// The row of a look, as InstrumentsHook makes it.
  void make_row(const Instruments& look, double scale) {
    MetricRow row{.step = steps_, .kind = "instruments", .values = instrument_summary(look)};
    const auto updates = measure_updates(run_->ctx, run_->store, config_.optimizer,
                                         config_.optimizer.lr, scale, steps_);
    std::ranges::move(update_summary(updates), std::back_inserter(row.values));
    json_line(row);
  }

  const RunConfig& config_;
  std::int64_t tokens_;
  std::unique_ptr<RunModel> run_;
  TokenLosses losses_;
  std::vector<HostBatch> batches_;
  std::int64_t steps_ = 0;
};

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

double LookCost::share(double step_seconds) const {
  return (seconds / static_cast<double>(interval) +
          details_seconds / static_cast<double>(details_interval)) /
         step_seconds;
}

BenchResult bench_training(const RunConfig& config, const CpuInfo& cpu, std::int64_t warmup,
                           std::int64_t steps, bool instruments) {
  HG_CHECK(!instruments || config.metrics.instrument_interval > 0,
           "metrics.instrument_interval is 0: a run with this config never looks at a step");
  BenchResult result;
  result.steps = steps;
  result.gemm_ceiling = measure_gemm_ceiling(cpu, compute_dtype(config.training.precision, cpu));
  const StepPlan plan = plan_step(config, cpu);
  result.planned = plan.total_bytes();
  result.flops = plan.trace.total().cost.flops;
  Steps run(config, cpu, plan);
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
    seconds.push_back(run.next(&result.trace));
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

}  // namespace hg
