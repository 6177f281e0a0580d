// In which order a pipeline stage works on the micro-batches of a step: a list, made before the
// run.
#pragma once

#include <cstdint>
#include <vector>

namespace hg {

/// One pass of one micro-batch through one chunk of layers.
struct PipelineAction {
  enum class Pass : std::uint8_t { forward, backward } pass;
  int micro_batch;
  int chunk;  // of the stage
  int slot;   // of memory: from forward until the stage in front has backward's gradient

  bool operator==(const PipelineAction&) const = default;
};

struct PipelineSchedule {
  std::vector<PipelineAction> actions;
  int slots = 0;    // of memory
  int batches = 0;  // consecutive micro-batches that are begun and not done, at most
};

/// The schedule of one stage of many. With one chunk on each stage: 1F1B (Narayanan et al.,
/// arXiv 1806.03377; arXiv 2006.09503): as many forward passes as fill the pipeline, then forward
/// and backward in turns. With more chunks: interleaved (arXiv 2104.04473, section 2.2), where
/// chunk c of stage s is the (c stages + s)-th part of the model; micro-batches must divide by the
/// stages. A stage alone does each micro-batch forward and backward before the next.
PipelineSchedule pipeline_schedule(int stage, int stages, int chunks, int micro_batches);

/// Layers [first, last).
struct LayerRange {
  std::int64_t first, last;
};
/// The layers of part `part` of `parts`: as equal as can be.
LayerRange layers_of_part(std::int64_t layers, int part, int parts);

}  // namespace hg
