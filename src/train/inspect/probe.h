// What a trained model makes of a change to its gate.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "train/evaluate.h"
#include "train/trained_run.h"

namespace hg {

/// Validation loss with all gate logits multiplied by `factor`.
struct GateProbe {
  double factor = 1;
  Evaluation evaluation;
};

/// Multiplies the weights that make gate logits, in place, and with them the logits. Throws if
/// there are none.
void scale_gate(const ParamStore& store, double factor);

/// Evaluates the run's validation data once for each factor, on its weights as they were trained
/// but for the gate's; `each`, if not empty, hears every result as it comes. Throws if the config
/// names no validation data.
std::vector<GateProbe> probe_gate_scale(const TrainedRun& run, std::span<const double> factors,
                                        const std::function<void(const GateProbe&)>& each = {});

}  // namespace hg
