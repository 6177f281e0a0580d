// The shape of a model. Keys carry the names that Hugging Face configurations use.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/config.h"
#include "model/gate_config.h"
#include "model/moe_config.h"

namespace hg {

/// What backward makes again instead of keeping: nothing; the results of cheap ops (norms, RoPE,
/// gate, SwiGLU); or everything but each block's input.
enum class Recompute { none, cheap, block };

template <>
struct EnumNames<Recompute> {
  static constexpr std::pair<Recompute, std::string_view> values[] = {
      {Recompute::none, "none"}, {Recompute::cheap, "cheap"}, {Recompute::block, "block"}};
};

/// What a query may attend to beside keys: nothing; a logit of 0 that has no value
/// (softmax-off-by-one); or a learned logit of each head (gpt-oss, arXiv 2508.10925).
enum class Sink { none, off_by_one, learned };

template <>
struct EnumNames<Sink> {
  static constexpr std::pair<Sink, std::string_view> values[] = {
      {Sink::none, "none"}, {Sink::off_by_one, "off_by_one"}, {Sink::learned, "learned"}};
};

struct AttentionConfig {
  GateConfig gate;
  bool qk_norm = true;
  bool output_norm = false;
  Sink sink = Sink::none;

  void fields(auto&& f) {
    f("gate", gate, "a gate in the attention layer");
    f("qk_norm", qk_norm, "RMSNorm over each query and key head, before RoPE");
    f("output_norm", output_norm, "RMSNorm over each head of the attention output");
    f("sink", sink, "a logit beside those of the keys: none, 0, or learned for each head");
  }
};

struct ModelConfig {
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t max_position_embeddings = 4096;
  double rope_theta = 10000;
  double partial_rotary_factor = 1;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = true;
  double initializer_range = 0.02;
  bool depth_scaled_init = false;
  bool sandwich_norm = false;
  double residual_clip = 0;
  std::int64_t gated_norm_rank = 0;
  bool pre_affine = false;
  AttentionConfig attention;
  MoeConfig moe;

  void fields(auto&& f) {
    f("vocab_size", vocab_size, "rows of the embedding; ids are below this", required, at_least(2),
      at_most(1e8));
    f("hidden_size", hidden_size, "width of the residual stream", required, at_least(1),
      at_most(1e6));
    f("num_hidden_layers", num_hidden_layers, "decoder blocks", required, at_least(1),
      at_most(1e4));
    f("num_attention_heads", num_attention_heads, "query heads", required, at_least(1),
      at_most(1e5));
    f("num_key_value_heads", num_key_value_heads, "key and value heads (GQA)", required,
      at_least(1), at_most(1e5));
    f("head_dim", head_dim, "width of a head", required, at_least(8), at_most(1e5));
    f("intermediate_size", intermediate_size, "width of the SwiGLU of dense layers", at_least(0),
      at_most(1e7));
    f("max_position_embeddings", max_position_embeddings, "longest document part", at_least(1),
      at_most(1e9));
    f("rope_theta", rope_theta, "base of the rotary frequencies", positive);
    f("partial_rotary_factor", partial_rotary_factor, "share of a head that is rotated", positive);
    f("rms_norm_eps", rms_norm_eps, "added to the mean square", positive);
    f("tie_word_embeddings", tie_word_embeddings, "the head uses the embedding's weight");
    f("initializer_range", initializer_range, "standard deviation of initial weights", positive);
    f("depth_scaled_init", depth_scaled_init,
      "output projections of both branches start smaller by 1 / sqrt(2 layers)");
    f("sandwich_norm", sandwich_norm, "RMSNorm of each branch's output, before it is added");
    f("residual_clip", residual_clip, "branch outputs are held in (-c, c) when added; 0: off",
      at_least(0));
    f("gated_norm_rank", gated_norm_rank, "of the gate behind each norm of the stream; 0: none",
      at_least(0));
    f("pre_affine", pre_affine, "a learned vector scales the input of each norm of the stream");
    f("attention", attention, "the attention layer");
    f("moe", moe, "layers of experts instead of dense ones");
  }

  void validate(ConfigProblems& problems) const {
    if (num_attention_heads % num_key_value_heads != 0) {
      problems.add("num_key_value_heads", "is {}, which does not divide num_attention_heads = {}",
                   num_key_value_heads, num_attention_heads);
    }
    if (head_dim % 8 != 0 || head_dim > 256) {
      problems.add("head_dim", "is {}, expected a multiple of 8 up to 256", head_dim);
    }
    if (partial_rotary_factor > 1 || rotary_dim() % 2 != 0) {
      problems.add("partial_rotary_factor",
                   "is {}: {} of {} dimensions rotated, expected an even number up to head_dim",
                   partial_rotary_factor, rotary_dim(), head_dim);
    }
    if (attention.gate.input_dims > hidden_size) {
      problems.add("attention.gate.input_dims", "is {}, more than hidden_size = {}",
                   attention.gate.input_dims, hidden_size);
    }
    if (intermediate_size == 0 && has_dense_layers()) {
      problems.add("intermediate_size", "is 0 or missing, expected the width of the dense layers");
    }
    for (const std::int64_t layer : moe.dense_layers) {
      if (layer < num_hidden_layers) continue;
      problems.add("moe.dense_layers", "has {}; the model has layers 0 to {}", layer,
                   num_hidden_layers - 1);
    }
  }

  bool has_dense_layers() const {
    for (std::int64_t layer = 0; layer < num_hidden_layers; ++layer) {
      if (!moe.routed(layer)) return true;
    }
    return false;
  }
  /// The part of each layer that one of `ranks` has along the tensor axis: heads, and the width of
  /// dense layers. Vocabulary and experts are divided by those who own them.
  ModelConfig divided(std::int64_t ranks) const {
    ModelConfig part = *this;
    part.num_attention_heads /= ranks;
    part.num_key_value_heads /= ranks;
    part.intermediate_size /= ranks;
    return part;
  }
  std::int64_t heads_per_group() const { return num_attention_heads / num_key_value_heads; }
  /// The first dimensions of a head that RoPE turns.
  std::int64_t rotary_dim() const {
    return static_cast<std::int64_t>(static_cast<double>(head_dim) * partial_rotary_factor);
  }
  /// Standard deviation of the projections that write to the residual stream.
  float output_std() const {
    const double depth =
        depth_scaled_init ? std::sqrt(2.0 * static_cast<double>(num_hidden_layers)) : 1;
    return static_cast<float>(initializer_range / depth);
  }
};

}  // namespace hg
