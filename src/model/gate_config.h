// The one description of a gate: the model, its parameter count, the checks of a config and its
// documentation all follow from it. G1 to G5 are the positions of arXiv 2505.06708, figure 1.
#pragma once

#include <cstdint>
#include <optional>

#include "core/config.h"
#include "ops/gate.h"

namespace hg {

/// Where a gate stands: on the output of scaled dot-product attention (G1), on values (G2), keys
/// (G3) or queries (G4) as they are projected, on keys or queries behind QK-norm and RoPE, or on
/// the layer's output behind W_O (G5).
enum class GatePosition { none, sdpa, value, key, query, rotated_key, rotated_query, output };

/// A score for each element, or one for each head.
enum class GateGranularity { elementwise, headwise };

/// Whether heads have scores of their own, or share them: the mean of their scores, the score of
/// their mean logit, or the score from one matrix.
enum class GateHeads { specific, mean_scores, mean_logits, shared };

/// What logits are made from: the pre-normalised hidden state X that q, k and v are made from too;
/// what is gated, through a matrix of each head (at values: value-state gated attention, arXiv
/// 2510.09017); what is gated, as it is; or nothing: learned logits, the same for every token.
enum class GateInput { hidden, state, self, learned };

template <>
struct EnumNames<GatePosition> {
  static constexpr std::pair<GatePosition, std::string_view> values[] = {
      {GatePosition::none, "none"},
      {GatePosition::sdpa, "sdpa"},
      {GatePosition::value, "value"},
      {GatePosition::key, "key"},
      {GatePosition::query, "query"},
      {GatePosition::rotated_key, "rotated_key"},
      {GatePosition::rotated_query, "rotated_query"},
      {GatePosition::output, "output"}};
};
template <>
struct EnumNames<GateGranularity> {
  static constexpr std::pair<GateGranularity, std::string_view> values[] = {
      {GateGranularity::elementwise, "elementwise"}, {GateGranularity::headwise, "headwise"}};
};
template <>
struct EnumNames<GateHeads> {
  static constexpr std::pair<GateHeads, std::string_view> values[] = {
      {GateHeads::specific, "specific"},
      {GateHeads::mean_scores, "mean_scores"},
      {GateHeads::mean_logits, "mean_logits"},
      {GateHeads::shared, "shared"}};
};
template <>
struct EnumNames<GateInput> {
  static constexpr std::pair<GateInput, std::string_view> values[] = {
      {GateInput::hidden, "hidden"},
      {GateInput::state, "state"},
      {GateInput::self, "self"},
      {GateInput::learned, "learned"}};
};
template <>
struct EnumNames<GateMode> {
  static constexpr std::pair<GateMode, std::string_view> values[] = {
      {GateMode::multiplicative, "multiplicative"}, {GateMode::additive, "additive"}};
};
template <>
struct EnumNames<Activation> {
  static constexpr std::pair<Activation, std::string_view> values[] = {
      {Activation::sigmoid, "sigmoid"},
      {Activation::silu, "silu"},
      {Activation::ns_sigmoid, "ns_sigmoid"},
      {Activation::identity, "identity"}};
};

struct GateConfig {
  GatePosition position = GatePosition::sdpa;
  GateGranularity granularity = GateGranularity::elementwise;
  GateHeads heads = GateHeads::specific;
  GateMode mode = GateMode::multiplicative;
  Activation activation = Activation::sigmoid;
  double scale = 1;
  GateInput input = GateInput::hidden;
  std::int64_t input_dims = 0;
  std::optional<double> init_std;

  void fields(auto&& f) {
    f("position", position,
      "what is gated: none; sdpa, the attention output (G1); value (G2); key (G3) or query (G4), "
      "or "
      "either behind QK-norm and RoPE; output, behind the output projection (G5)");
    f("granularity", granularity, "a score per element, or per head");
    f("heads", heads,
      "scores of each head's own; or shared: the mean of scores, of logits, or one matrix");
    f("mode", mode, "scores multiply what is gated, or are added to it");
    f("activation", activation, "from logits to scores; ns_sigmoid is 0.5 + 0.5 sigmoid");
    f("scale", scale, "factor of the scores", positive);
    f("input", input,
      "what logits come from: hidden, the normalised hidden state; state, what is gated, through a "
      "matrix per head; self, what is gated, as it is; learned, the same logits for every token");
    f("input_dims", input_dims, "first dimensions of the hidden state to use; 0: all", at_least(0));
    f("init_std", init_std,
      "standard deviation of the gate's initial weights; default: initializer_range, 0 if learned",
      at_least(0.0));
  }

  void validate(ConfigProblems& problems) const {
    if (position == GatePosition::none) return;
    const auto refuse = [&](bool wrong, const char* key, const char* reason) {
      if (wrong) problems.add(key, "{}", reason);
    };
    const bool rows = position == GatePosition::output;
    refuse(rows && granularity == GateGranularity::headwise, "granularity",
           "is headwise, but behind the output projection (position: output) there are no heads");
    refuse(rows && heads != GateHeads::specific, "heads",
           "are shared, but behind the output projection (position: output) there are no heads");
    refuse(input == GateInput::self && granularity == GateGranularity::headwise, "granularity",
           "is headwise, but what gates itself (input: self) has a logit for every element");
    refuse(input == GateInput::self && heads != GateHeads::specific, "heads",
           "are shared, but what gates itself (input: self) has logits of its own");
    refuse(input == GateInput::learned && heads != GateHeads::specific, "heads",
           "are shared, which learned logits (input: learned) do not offer");
    refuse(input == GateInput::state && heads == GateHeads::shared, "heads",
           "are shared, but what is gated goes through a matrix per head (input: state)");
    refuse(input != GateInput::hidden && input_dims != 0, "input_dims",
           "is set, but the logits do not come from the hidden state");
  }

  bool at(GatePosition wanted) const { return position == wanted; }
};

}  // namespace hg
