// Norms of gradients, weights and of the step that the optimizer has just taken, by group.
#pragma once

#include <string>
#include <vector>

#include "train/run_model.h"

namespace hg {

/// Sums of squares over some parameters.
struct UpdateSums {
  double gradient = 0, weight = 0, update = 0;

  void add(const UpdateSums& other);
};

/// All parameters of one kind, such as "gate", in one unit, such as "layers.3", of all ranks.
struct UpdateGroup {
  std::string kind, unit;
  UpdateSums sums;
};

/// Reads the store behind an optimizer step that was taken with these numbers; gradients are as the
/// step scaled them. On Device::meta sizes scratch, and gives zeros.
std::vector<UpdateGroup> measure_updates(RunModel& model, const OptimizerConfig& config, double lr,
                                         double gradient_scale, std::int64_t step);

}  // namespace hg
