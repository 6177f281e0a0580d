// The models of configs/ablations at a size for tests: every gate, sink, norm and way to balance
// experts that a config names.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "support/paths.h"
#include "train/config.h"

namespace hg::test {

/// The files in a folder of configs/ablations, "tiny/sdpa-silu" and others, in order.
inline std::vector<std::string> ablations(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& file :
       std::filesystem::directory_iterator(source_path("configs/ablations/" + folder)))
    names.push_back(folder + "/" + file.path().stem().string());
  std::ranges::sort(names);
  return names;
}

/// Makes `model` the one of such a file; its widths and depth stay, heads are as in the file.
inline void choose_ablation(ModelConfig& model, const std::string& name) {
  ModelConfig its =
      load_config<RunConfig>(source_path("configs/ablations/" + name + ".yaml")).value.model;
  its.vocab_size = model.vocab_size;
  its.hidden_size = model.hidden_size;
  its.num_hidden_layers = model.num_hidden_layers;
  its.head_dim = model.head_dim;
  its.intermediate_size = model.intermediate_size;
  its.max_position_embeddings = model.max_position_embeddings;
  if (its.moe.num_experts > 0) {
    its.moe.num_experts = 8;
    its.moe.expert_intermediate_size = model.intermediate_size / 2;
  }
  model = its;
}

}  // namespace hg::test
