// What a rank saves, copied out of the model at one moment: training goes on while it is written.
#pragma once

#include <memory>
#include <vector>

#include "core/arena.h"
#include "train/checkpoint/pieces.h"
#include "train/run_model.h"
#include "train/safetensors.h"

namespace hg {

/// Tensors of one file, in memory of their own.
struct SavedPart {
  /// "model.safetensors", or of a rank among several "model-rank00003.safetensors"
  std::string file;
  std::vector<NamedTensor> tensors;
  Pieces pieces;  // of those that are not whole
  std::unique_ptr<Arena> memory;

  /// The folder is still to be synced.
  Digest write(const std::filesystem::path& folder) const;
};

/// This rank's part of the weights (f32 masters and saved buffers), and of the optimizer's moments
/// ("NAME.m", "NAME.v"). Of what several ranks hold alike, one has it. A part may be empty.
std::vector<SavedPart> take_snapshot(const RunModel& run);

}  // namespace hg
