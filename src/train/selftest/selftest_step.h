// One micro-batch of a small model: what selftests compare.
#pragma once

#include "data/packer.h"
#include "train/run_model.h"

namespace hg {

class SelftestStep {
 public:
  SelftestStep(const RunConfig& config, const CpuInfo& cpu);

  /// Forward and backward. Returns the sum of losses.
  double run();
  /// Forward alone.
  double loss();

  std::vector<ParamState> states() const { return run_->store.states(); }
  /// Makes weights that were changed those that the model computes with.
  void publish() { run_->store.publish(run_->ctx); }

 private:
  double sum_of_losses() const;

  HostBatch batch_;
  std::unique_ptr<RunModel> run_;
  TokenLosses losses_;
};

/// The relative error of the derivative along the gradient's even elements (parity 0) or odd ones,
/// against central differences; of a derivative that drowns in noise, less. Weights stay as they
/// are.
double derivative_error(SelftestStep& model, const ParamState& state, std::int64_t parity);

/// ||a - b|| / ||b||.
double relative_distance(std::span<const float> a, std::span<const float> b);

}  // namespace hg
