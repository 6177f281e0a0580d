#include "train/bench/bench_steps.h"

#include <algorithm>

#include "core/clock.h"
#include "core/random.h"
#include "data/tokenizer.h"
#include "train/looks/gate_rows.h"
#include "train/looks/instrument_rows.h"
#include "train/metrics/metrics.h"
#include "train/optimizer.h"

namespace hg {
namespace {

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

}  // namespace

BenchSteps::BenchSteps(const RunConfig& config, const CpuInfo& cpu, const StepPlan& plan,
                       const std::shared_ptr<GpuStream>& gpu)
    : config_(config),
      tokens_(config.training.micro_batch_size * config.training.seq_len),
      run_(make_training_model(config, cpu, plan, {}, gpu)),
      losses_(allocate_losses(run_->tables, tokens_)) {
  run_->store.initialize(1);
  run_->store.publish(run_->ctx);
  for (std::uint64_t i = 0; i < 8; ++i) batches_.push_back(random_batch(config, i));
}

double BenchSteps::loss() const {
  const HostValues<float> losses(run_->ctx, losses_.loss);
  double sum = 0;
  for (std::int64_t t = 0; t < tokens_; ++t) sum += double{losses[t]};
  return sum / static_cast<double>(tokens_);
}

double BenchSteps::next(Trace* trace, Instruments* look) {
  run_->ctx.trace = trace;
  const auto start = Clock::now();
  const HostBatch& batch = batches_[static_cast<std::size_t>(steps_++) % batches_.size()];
  run_->model.forward_backward(run_->ctx, run_->batches.front().put(run_->ctx, batch),
                               {.recompute = config_.training.recompute}, losses_, look);
  const auto tokens = static_cast<double>(tokens_);
  const double norm = gradient_norm(run_->ctx, run_->store) / tokens;
  const double scale = std::min(1.0, config_.training.max_grad_norm / norm) / tokens;
  adamw_step(run_->ctx, run_->store, config_.optimizer, config_.optimizer.lr, scale, steps_);
  run_->model.end_step(run_->ctx);
  if (look != nullptr) make_row(*look, scale);
  if (on_gpu(run_->ctx)) run_->ctx.gpu->synchronize();
  return seconds_since(start);
}

double BenchSteps::details(const Instruments& look) const {
  const auto tokenizer = load_tokenizer("byte");
  std::vector<std::int32_t> ids = batches_.front().tokens;
  for (std::int32_t& id : ids) id %= static_cast<std::int32_t>(tokenizer->vocab_size());
  const auto start = Clock::now();
  gate_histograms(look);
  instrument_details(look, ids, *tokenizer)
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return seconds_since(start);
}

/// The row of a look, as InstrumentsHook makes it.
void BenchSteps::make_row(Instruments& look, double scale) {
  look.fetch(run_->ctx);
  MetricRow row{.step = steps_, .kind = "instruments", .values = instrument_summary(look)};
  const auto updates =
      measure_updates(*run_, config_.optimizer, config_.optimizer.lr, scale, steps_);
  std::ranges::move(update_summary(updates), std::back_inserter(row.values));
  json_line(row);
}

}  // namespace hg
