// What happens around training steps: each hook does one thing.
#pragma once

#include <filesystem>
#include <limits>
#include <memory>
#include <vector>

#include "data/token_file.h"
#include "train/checkpoint/writer.h"
#include "train/metrics/metrics.h"
#include "train/metrics/progress.h"
#include "train/spikes/moving_window.h"
#include "train/trainer.h"

namespace hg {

/// Sinks that every hook writes to.
using Sinks = std::vector<std::unique_ptr<MetricsSink>>;

/// A row with the trainer's step and tokens and the time.
MetricRow make_row(const Trainer& trainer, std::string kind, std::vector<NamedValue> values,
                   std::vector<std::pair<std::string, std::string>> texts = {});

/// Writes a row to every sink.
void write_row(Sinks& sinks, const MetricRow& row);
void write_row(Sinks& sinks, const Trainer& trainer, std::string kind,
               std::vector<NamedValue> values,
               std::vector<std::pair<std::string, std::string>> texts = {});

/// Loss, gradient norm, learning rate, throughput and utilisation of every step.
class StepMetricsHook : public Hook {
 public:
  /// flops_per_token as in model_flops_per_token; peak_flops of one rank, or 0 if unknown; the
  /// rank's GPU, or null.
  StepMetricsHook(Sinks& sinks, double flops_per_token, double peak_flops,
                  std::shared_ptr<const GpuStream> gpu)
      : sinks_(sinks),
        flops_per_token_(flops_per_token),
        peak_flops_(peak_flops),
        gpu_(std::move(gpu)) {}
  void after_step(Trainer& trainer, const StepResult& result) override;
  void rewound(Trainer&, const StepResult&) override { clipped_ = MovingShare(kClipWindow); }
  void end(Trainer& trainer) override;

 private:
  static constexpr std::int64_t kClipWindow = 300;  // steps, of this process
  /// Of the device that the rank computes on: its GPU, or this process in the host's memory.
  void add_memory(std::vector<NamedValue>& values);

  Sinks& sinks_;
  double flops_per_token_, peak_flops_;
  std::shared_ptr<const GpuStream> gpu_;
  std::int64_t most_gpu_memory_ = 0;
  MovingShare clipped_{kClipWindow};
};

/// Held-out loss before the first step, every interval, and behind the last step. Before the first
/// step of a fresh run it also says how far the loss is from ln V, where an untrained model must
/// start.
class ValidationHook : public Hook {
 public:
  ValidationHook(Sinks& sinks, const TokenFile& file) : sinks_(sinks), file_(file) {}
  void begin(Trainer& trainer) override;
  void after_step(Trainer& trainer, const StepResult& result) override;

  /// The newest and the first value of this process; NaN before they are measured.
  double loss() const { return loss_; }
  double first_loss() const { return first_; }
  /// The step behind which the newest was measured.
  std::int64_t step() const { return step_; }

 private:
  void measure(Trainer& trainer, bool log);

  Sinks& sinks_;
  const TokenFile& file_;
  double loss_ = std::numeric_limits<double>::quiet_NaN(), first_ = loss_;
  std::int64_t step_ = 0;
};

/// How long ranks work and wait, every metrics.log_interval steps: a row of kind "ranks". A rank
/// that works longer than the others keeps them waiting. On all ranks; rank 0 writes.
class RankTimesHook : public Hook {
 public:
  explicit RankTimesHook(Sinks& sinks) : sinks_(sinks) {}
  void after_step(Trainer& trainer, const StepResult& result) override;
  void rewound(Trainer&, const StepResult&) override { start_anew(); }

 private:
  void start_anew() {
    seconds_ = waiting_ = 0;
    steps_ = 0;
  }

  Sinks& sinks_;
  double seconds_ = 0, waiting_ = 0;  // since the last row
  std::int64_t steps_ = 0;
};

/// Moves the progress line, back where the run goes back.
class ProgressHook : public Hook {
 public:
  explicit ProgressHook(Progress& progress) : progress_(progress) {}
  void after_step(Trainer&, const StepResult&) override { progress_.advance(1); }
  void rewound(Trainer& trainer, const StepResult& result) override {
    progress_.advance(trainer.state().step - (result.step - 1));
  }

 private:
  Progress& progress_;
};

/// A checkpoint every interval, and at the end of the run or of the process. It is written while
/// steps go on; the row that reports it comes when it is on the disk.
class CheckpointHook : public Hook {
 public:
  CheckpointHook(Sinks& sinks, CheckpointWriter& writer) : sinks_(sinks), writer_(writer) {}
  void after_step(Trainer& trainer, const StepResult& result) override;
  void settle(Trainer& trainer) override { report(trainer, writer_.finish()); }

 private:
  void report(const Trainer& trainer, const std::optional<Written>& written);

  Sinks& sinks_;
  CheckpointWriter& writer_;
};

}  // namespace hg
