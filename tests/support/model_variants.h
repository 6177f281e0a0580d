// The models that runs on many ranks, and on other devices, are tried with.
#pragma once

#include <string>

#include "model/config.h"

namespace hg::test {

/// Makes `model`, which is gated, the variant of this name; "gated" leaves it as it is.
inline void choose_model(ModelConfig& model, const std::string& name) {
  GateConfig& gate = model.attention.gate;
  if (name == "dense") gate.position = GatePosition::none;
  if (name == "untied") model.tie_word_embeddings = false;
  if (name == "headwise") gate.granularity = GateGranularity::headwise;
  if (name == "shared") gate.heads = GateHeads::shared;
  if (name == "value") {
    gate.position = GatePosition::value;
    model.residual_clip = 4;
  }
  if (name == "rotated_key") gate.position = GatePosition::rotated_key;
  if (name == "sinks") {
    model.attention.sink = Sink::learned;
    model.attention.output_norm = true;
  }
  if (name == "moe") {
    model.moe.num_experts = 8;
    model.moe.top_k = 2;
    model.moe.expert_intermediate_size = 24;
    model.moe.shared_expert_intermediate_size = 16;
    model.moe.shared_expert_gate = true;
    model.moe.dense_layers = {0};
    model.moe.z_loss_coef = 1e-3;
  }
  if (name == "mixed") {  // layers of one parity hold different parameters
    choose_model(model, "moe");
    model.num_hidden_layers = 3;
    model.attention.output_norm = true;
    model.moe.z_loss_coef = 1;  // so that gradients of routers count
  }
  if (name == "biased") {
    model.moe.num_experts = 8;
    model.moe.top_k = 2;
    model.moe.expert_intermediate_size = 24;
    model.moe.score = RouterScore::sigmoid;
    model.moe.bias_update_rate = 1e-3;
  }
}

}  // namespace hg::test
