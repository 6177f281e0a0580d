// Text from a trained model: sampling with a cache of keys and values.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "train/run_model.h"

namespace hg {

struct SamplingOptions {
  double temperature = 1;  // 0: the likeliest token
  double top_p = 1;        // nucleus: the fewest likeliest tokens whose probabilities reach this
  std::uint64_t seed = 1;
  std::int64_t ids = 0;  // so many of the vocabulary, those of the tokenizer; 0: all
};

/// The next token from one row of logits, by temperature and top-p (Holtzman et al., 2020); `draw`
/// is uniform in [0, 1).
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          double draw);

/// A model with its caches, for one sequence at a time.
class Generator {
 public:
  /// Weights are left to the caller to load, into model().
  Generator(const ModelConfig& config, DType dtype, const CpuInfo& cpu);

  RunModel& model() { return *run_; }

  /// Continues `prompt` by up to `most` tokens, calling `each` with every new one; stops behind
  /// `stop`, or at the model's longest position. The prompt must not be empty.
  void generate(std::span<const std::int32_t> prompt, std::int64_t most, std::int32_t stop,
                const SamplingOptions& options, const std::function<void(std::int32_t)>& each);

 private:
  std::span<const float> next_logits(std::span<const std::int32_t> tokens, std::int64_t first);

  ModelConfig config_;
  std::unique_ptr<RunModel> run_;
  Arena cache_memory_{"key/value cache"};
  std::vector<KeyValueCache> caches_;
  std::vector<std::int32_t> positions_;
  Tensor logits_;               // [1, V], compute type
  std::vector<float> widened_;  // the same in f32
};

}  // namespace hg
