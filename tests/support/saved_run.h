// A run folder with checkpoints of a small byte model, as its weights were drawn: large enough that
// attention is far from even.
#pragma once

#include "support/temp_folder.h"
#include "train/checkpoint/checkpoint.h"

namespace hg::test {

inline RunConfig small_run_config() {
  RunConfig config;
  config.model.vocab_size = 257;
  config.model.hidden_size = 32;
  config.model.num_hidden_layers = 3;
  config.model.num_attention_heads = 4;
  config.model.num_key_value_heads = 2;
  config.model.head_dim = 16;
  config.model.intermediate_size = 64;
  config.model.max_position_embeddings = 512;
  config.model.initializer_range = 0.5;
  config.training.precision = Precision::f32;
  config.training.seq_len = 32;
  config.training.micro_batch_size = 2;
  config.training.global_batch_size = 2;
  config.data.train = "unused";
  return config;
}

/// Saves a checkpoint of `step` in FOLDER/run and returns that folder.
inline std::filesystem::path save_run(const TempFolder& folder, const RunConfig& config,
                                      std::int64_t step = 1) {
  RunConfig kept = config;
  kept.checkpoint.keep = 9;
  RunModel run(config.model, Device::cpu, detect_cpu());
  run.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
  run.store.initialize(static_cast<std::uint64_t>(config.training.seed));
  run.store.publish(run.ctx);
  TrainState state;
  state.step = step;
  save_checkpoint(folder / "run" / "checkpoints", run, state, kept);
  return folder / "run";
}

}  // namespace hg::test
