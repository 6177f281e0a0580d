// Floating-point operations of a model, by named conventions.
#pragma once

#include "dist/param_store.h"
#include "model/config.h"

namespace hg {

/// Parameters that take part in a token: all but the experts that it does not go to. Embedding and
/// head both count whole.
double active_parameters(const ModelConfig& config, const ParamStore& store);

/// FLOPs that training one token needs, by the convention of PaLM (Chowdhery et al., 2022, appendix
/// B): 6 N + 12 L H Q T, with N the active parameters that take part in a matrix product (a tied
/// embedding once), causality ignored, recomputation not counted.
double model_flops_per_token(const ModelConfig& config, const ParamStore& store,
                             std::int64_t seq_len);

}  // namespace hg
