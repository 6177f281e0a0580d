#include "train/selftest/selftest.h"

#include <cmath>

namespace hg {
namespace {

RunConfig small_model() {
  RunConfig config;
  ModelConfig& model = config.model;
  model.vocab_size = 64;
  model.hidden_size = 32;
  model.num_hidden_layers = 2;
  model.num_attention_heads = 8;
  model.num_key_value_heads = 4;
  model.head_dim = 8;
  model.intermediate_size = 64;
  model.max_position_embeddings = 64;
  model.initializer_range = 0.1;  // larger than usual, so that no gradient is lost in rounding
  config.training.seq_len = 16;
  config.training.micro_batch_size = 2;
  config.training.global_batch_size = 8;
  config.training.precision = Precision::f32;
  config.training.steps = 100;
  config.optimizer.lr = 1e-2;
  config.lr_scheduler.warmup_steps = 0;
  config.metrics.instrument_interval = 0;
  return config;
}

void add_experts(ModelConfig& model) {
  model.moe.num_experts = 8;
  model.moe.top_k = 2;
  model.moe.expert_intermediate_size = 24;
  model.moe.aux_loss_coef = model.moe.z_loss_coef =
      0;  // their gradients are of no loss that is seen
}

}  // namespace

void SelftestResult::see(double found, std::string found_where) {
  if (std::isnan(error) || found <= error) return;
  error = found;
  where = std::move(found_where);
}

std::string SelftestResult::to_string() const {
  return fmt::format("{:<5} {:<10} {:<36} {:.1e} of {:.0e}  {}", ok() ? "ok" : "ERROR", part, what,
                     error, limit, where);
}

std::vector<SelftestModel> selftest_models() {
  std::vector<SelftestModel> models;
  const auto add = [&](std::string name, auto&& change) {
    models.push_back({std::move(name), small_model()});
    change(models.back().config.model);
  };
  const auto add_gate = [&](std::string name, auto&& change) {
    add("gate " + name, [&](ModelConfig& model) { change(model.attention.gate); });
  };
  add("no gate, head of its own", [](ModelConfig& model) {
    model.attention.gate.position = GatePosition::none;
    model.tie_word_embeddings = false;
  });
  add_gate("at sdpa, elementwise", [](GateConfig&) {});
  add_gate("at sdpa, headwise",
           [](GateConfig& gate) { gate.granularity = GateGranularity::headwise; });
  add_gate("at sdpa, shared by heads", [](GateConfig& gate) { gate.heads = GateHeads::shared; });
  add_gate("at sdpa, SiLU added", [](GateConfig& gate) {
    gate.mode = GateMode::additive;
    gate.activation = Activation::silu;
  });
  for (const auto& [position, name] : EnumNames<GatePosition>::values) {
    if (position == GatePosition::none || position == GatePosition::sdpa) continue;
    add_gate(fmt::format("at {}", name), [&](GateConfig& gate) { gate.position = position; });
  }
  add("learned sinks, norm of heads", [](ModelConfig& model) {
    model.attention.gate.position = GatePosition::none;
    model.attention.sink = Sink::learned;
    model.attention.output_norm = true;
  });
  add("gated norms, sandwich, clip", [](ModelConfig& model) {
    model.gated_norm_rank = 4;
    model.sandwich_norm = true;
    model.residual_clip = 4;
  });
  add("experts, softmax router", add_experts);
  add("experts, sigmoid, shared expert", [](ModelConfig& model) {
    add_experts(model);
    model.moe.score = RouterScore::sigmoid;
    model.moe.shared_expert_intermediate_size = 16;
    model.moe.shared_expert_gate = true;
  });
  return models;
}

}  // namespace hg
