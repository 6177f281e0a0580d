// What the heads of a trained model attend to in one short text: maps, and the numbers beside them.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "train/inspect/attention_svg.h"
#include "train/trained_run.h"

namespace hg {

/// A head's numbers; or a layer's: means over its heads, and their largest logit. docs/metrics.md
/// defines them.
struct AttentionNumbers {
  double first_token = 0;      ///< share that the first token gets, mean over all queries
  double entropy = 0;          ///< in nats, mean over queries
  double max_logit = 0;        ///< largest scaled q . k
  std::optional<double> gate;  ///< mean score; none without a gate, or where it has other heads
};

struct LayerAttention {
  std::int64_t layer = 0;
  AttentionNumbers all;
  std::vector<AttentionNumbers> heads;
};

struct AttentionInspection {
  AttentionMaps maps;                  ///< of all heads of the layers asked for
  std::vector<LayerAttention> layers;  ///< in the same order
};

/// One forward pass over `tokens` as a document of their own, in the precision of the run. Throws
/// unless there are 1 to AttentionMaps::kMostTokens of them and the model has positions for all.
AttentionInspection inspect_attention(const TrainedRun& run, std::span<const std::int32_t> tokens,
                                      std::span<const std::int64_t> layers);

/// The first layer, those at a quarter and at three quarters, and the last; all where there are no
/// more than four. Of 28 layers they are the 1st, 7th, 21st and 28th, which the authors of arXiv
/// 2505.06708 show.
std::vector<std::int64_t> representative_layers(std::int64_t layers);

}  // namespace hg
