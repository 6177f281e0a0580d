// A training run that fits in a second, for tests of whole runs.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/tokenize.h"
#include "support/temp_folder.h"
#include "train/checkpoint/saved_tensors.h"
#include "train/session.h"

namespace hg::test {

namespace fs = std::filesystem;

/// A model that fits in a second: four hundred documents of counting, in bytes.
class SmallRun : public testing::Test {
 protected:
  SmallRun() {
    std::ofstream text(folder / "text.jsonl");
    for (int i = 0; i < 400; ++i) {
      text << nlohmann::json{{"text", fmt::format("{} and {} make {}.", i, i + 1, 2 * i + 1)}}
           << "\n";
    }
    text.close();
    tokenize(*load_tokenizer("byte"),
             {.files = {folder / "text.jsonl"},
              .corpus = {},
              .output = (folder / "tokens").string(),
              .validation = 0.1},
             [](std::int64_t) {});
    config.model.vocab_size = 257;
    config.model.hidden_size = 32;
    config.model.num_hidden_layers = 2;
    config.model.num_attention_heads = 4;
    config.model.num_key_value_heads = 2;
    config.model.head_dim = 16;
    config.model.intermediate_size = 64;
    config.model.max_position_embeddings = 64;
    config.training.steps = 12;
    config.training.seq_len = 32;
    config.training.micro_batch_size = 2;
    config.training.global_batch_size = 4;
    config.training.precision = Precision::f32;
    config.optimizer.lr = 1e-2;
    config.data.train = (folder / "tokens_train").string();
    config.data.validation = (folder / "tokens_validation").string();
    config.validation.interval = 6;
    config.validation.sequences = 8;
    config.checkpoint.interval = 6;
  }

  SessionSummary run(const std::string& name) const {
    return train(config, {.folder = folder / name,
                          .resolved_config = to_yaml(config),
                          .console = nullptr,
                          .peak_flops = 1e12});
  }
  fs::path checkpoint(const std::string& name, const char* step) const {
    return folder / name / "checkpoints" / step;
  }
  /// Names and bits of all that a checkpoint has of one part, whatever layout saved it.
  std::string saved(const fs::path& path, const char* part) const {
    const SavedTensors tensors(path, part);
    std::string all;
    for (const std::string& tensor : tensors.names()) {
      const std::vector<float> values = tensors.whole(tensor);
      all += tensor;
      all.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    }
    return all;
  }
  std::string weights(const std::string& name, const char* step) const {
    return saved(checkpoint(name, step), "model");
  }
  std::vector<nlohmann::json> rows(const std::string& name, const std::string& kind) const {
    std::vector<nlohmann::json> found;
    std::ifstream file(folder / name / "metrics.jsonl");
    for (std::string line; std::getline(file, line) && !file.eof();) {  // no line half written
      auto row = nlohmann::json::parse(line);
      if (row.at("kind") == kind) found.push_back(std::move(row));
    }
    return found;
  }
  std::string error_of_run(const std::string& name) const {
    try {
      run(name);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }

  TempFolder folder;
  RunConfig config;
};

}  // namespace hg::test
