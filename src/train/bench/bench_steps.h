// Training steps on random tokens, to be timed.
#pragma once

#include <memory>
#include <vector>

#include "data/packer.h"
#include "train/config.h"
#include "train/run_model.h"

namespace hg {

/// A model that steps through the same few batches again and again.
class BenchSteps {
 public:
  BenchSteps(const RunConfig& config, const CpuInfo& cpu, const StepPlan& plan,
             const std::shared_ptr<GpuStream>& gpu = nullptr);

  Instruments make_instruments() { return {config_.model, tokens_, run_->tables}; }
  RunModel& model() { return *run_; }
  /// Mean of the last batch, in nats.
  double loss() const;

  /// Seconds of one more step, whose ops go into a trace if there is one: a micro-batch, the
  /// optimizer, and with a look the row that it makes.
  double next(Trace* trace, Instruments* look = nullptr);
  /// Seconds of what a look with details makes beside the row.
  double details(const Instruments& look) const;

 private:
  void make_row(Instruments& look, double scale);

  const RunConfig& config_;
  std::int64_t tokens_;
  std::unique_ptr<RunModel> run_;
  TokenLosses losses_;
  std::vector<HostBatch> batches_;
  std::int64_t steps_ = 0;
};

}  // namespace hg
