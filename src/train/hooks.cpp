#include "train/hooks.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "core/gpu_facts.h"
#include "dist/gather_rows.h"
#include "train/evaluate.h"
#include "train/machine.h"

namespace hg {
namespace {

void flush(Sinks& sinks) {
  for (const auto& sink : sinks) sink->flush();
}

}  // namespace

MetricRow make_row(const Trainer& trainer, std::string kind, std::vector<NamedValue> values,
                   std::vector<std::pair<std::string, std::string>> texts) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {.step = trainer.state().step,
          .tokens = trainer.state().tokens,
          .time = std::chrono::duration<double>(now).count(),
          .kind = std::move(kind),
          .values = std::move(values),
          .texts = std::move(texts)};
}

void write_row(Sinks& sinks, const MetricRow& row) {
  for (const auto& sink : sinks) sink->write(row);
}

void write_row(Sinks& sinks, const Trainer& trainer, std::string kind,
               std::vector<NamedValue> values,
               std::vector<std::pair<std::string, std::string>> texts) {
  write_row(sinks, make_row(trainer, std::move(kind), std::move(values), std::move(texts)));
}

void StepMetricsHook::after_step(Trainer& trainer, const StepResult& result) {
  clipped_.add(result.clipped);
  const double total = static_cast<double>(result.tokens) / result.seconds;
  const double rate = total / trainer.model().store.mesh().world.size;
  const double flops = rate * flops_per_token_;
  std::vector<NamedValue> values = {
      {metric::kLoss, result.loss},
      {metric::kMaxLoss, result.max_loss},
      {metric::kGradNorm, result.grad_norm},
      {metric::kLearningRate, result.lr},
      {metric::kClipRate, 100 * clipped_.share()},
      {"logits/rms_logsumexp", result.z},
      {metric::kTokensPerSecond, rate},
      {metric::kTotalTokensPerSecond, total},
      {metric::kTflops, flops / 1e12},
      {metric::kDataLoading, 100 * result.data_seconds / result.seconds},
      {metric::kStepSeconds, result.seconds}};
  if (result.verdict.action == Action::skip_update) values.push_back({metric::kSkipped, 1});
  if (peak_flops_ > 0) values.push_back({metric::kMfu, 100 * flops / peak_flops_});
  add_memory(values);
  write_row(sinks_, trainer, "train", std::move(values));
}

void StepMetricsHook::add_memory(std::vector<NamedValue>& values) {
  constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
  if (gpu_ == nullptr) {
    values.push_back({metric::kMemoryGiB, static_cast<double>(peak_rss_bytes()) / kGiB});
    return;
  }
  const GpuFacts facts = facts_of(*gpu_);
  most_gpu_memory_ = std::max(most_gpu_memory_, facts.memory - facts.available);
  const auto most = static_cast<double>(most_gpu_memory_);
  values.push_back({metric::kMemoryGiB, most / kGiB});
  values.push_back({metric::kMemoryPercent, 100 * most / static_cast<double>(facts.memory)});
}

void StepMetricsHook::end(Trainer&) { flush(sinks_); }

void ValidationHook::begin(Trainer& trainer) {
  const bool resumed = trainer.state().step > 0;
  measure(trainer, !resumed);  // a resumed run has the row, or none at this step
  if (resumed) return;
  const RunConfig& config = trainer.config();
  const double even = std::log(static_cast<double>(config.model.vocab_size));
  const double off = 100 * (loss_ / even - 1);
  // Behind the last norm, logits of random weights have this variance, which lifts their
  // logarithmic sum by half of it; not all of that where inputs and targets are alike.
  const ModelConfig& model = config.model;
  const double variance =
      static_cast<double>(model.hidden_size) * model.initializer_range * model.initializer_range;
  const bool expected = loss_ > 0.99 * even && loss_ < even + variance / 2 + 0.01 * even;
  const char* const verdict = !config.checkpoint.init_from.empty() ? "of weights from elsewhere"
                              : expected                           ? "as it must be before training"
                                         : "not of an untrained model: check "
                                           "model.initializer_range and the data";
  write_row(sinks_, trainer, "event", {{"initial_loss/off_ln_V(%)", off}},
            {{"initial loss",
              fmt::format("{:.4f}, ln V = {:.4f}: {:+.2f} %, {}", loss_, even, off, verdict)}});
}

void ValidationHook::after_step(Trainer& trainer, const StepResult& result) {
  if (result.step % trainer.config().validation.interval == 0 || trainer.is_finished())
    measure(trainer, true);
}

void ValidationHook::measure(Trainer& trainer, bool log) {
  const RunConfig& config = trainer.config();
  const Evaluation evaluation = evaluate(trainer.model(), trainer.losses(), file_, config.training,
                                         config.validation.sequences);
  loss_ = evaluation.loss;
  step_ = trainer.state().step;
  if (std::isnan(first_)) first_ = loss_;
  if (!log) return;
  write_row(sinks_, trainer, "val",
            {{metric::kValidationLoss, loss_},
             {"validation_metrics/perplexity", std::exp(loss_)},
             {"validation_metrics/targets", static_cast<double>(evaluation.targets)}});
}

void RankTimesHook::after_step(Trainer& trainer, const StepResult& result) {
  seconds_ += result.seconds;
  waiting_ += result.waiting_seconds;
  ++steps_;
  if (result.step % trainer.config().metrics.log_interval != 0) return;
  const Group& world = trainer.model().store.mesh().world;
  const auto steps = static_cast<double>(steps_);
  const float working = static_cast<float>((seconds_ - waiting_) / steps);
  const auto all =
      gather_rows<float>(*trainer.model().store.mesh().host, {&working, 1}, "step times");
  if (world.rank == 0) {
    std::vector<float> sorted = all;
    std::ranges::sort(sorted);
    const auto slowest = std::ranges::max_element(all) - all.begin();
    write_row(sinks_, trainer, "ranks",
              {{"rank_time/min(s)", double{sorted.front()}},
               {"rank_time/median(s)", double{sorted[sorted.size() / 2]}},
               {"rank_time/max(s)", double{sorted.back()}},
               {"rank_time/slowest", static_cast<double>(slowest)},
               {"time_metrics/waiting_for_ranks(%)", 100 * waiting_ / seconds_}});
  }
  start_anew();
}

void CheckpointHook::after_step(Trainer& trainer, const StepResult& result) {
  report(trainer, writer_.finished());
  const std::int64_t interval = trainer.config().checkpoint.interval;
  if (!trainer.is_over() && (interval == 0 || result.step % interval != 0)) return;
  flush(sinks_);  // a checkpoint is never ahead of the rows that a resumed run keeps
  writer_.save(trainer.state());
  if (trainer.is_over()) report(trainer, writer_.finish());
}

void CheckpointHook::report(const Trainer& trainer, const std::optional<Written>& written) {
  if (!written) return;
  const double mib = static_cast<double>(written->bytes) / (1 << 20);
  const std::string sentence =
      fmt::format("{}: {:.1f} MiB, copied in {:.3f} s, on the disk {:.3f} s later",
                  written->path.string(), mib, written->copy_seconds, written->write_seconds);
  write_row(sinks_, trainer, "event",
            {{"checkpoint/MiB", mib},
             {"checkpoint/copy(s)", written->copy_seconds},
             {"checkpoint/write(s)", written->write_seconds}},
            {{"checkpoint", sentence}});
  flush(sinks_);
}

}  // namespace hg
