// Saving and loading a run's state: a folder of safetensors files, complete or absent. A
// checkpoint loads into any layout of ranks; docs/checkpoints.md has the format.
#pragma once

#include "train/checkpoint/checkpoint_folder.h"
#include "train/checkpoint/state_file.h"
#include "train/run_model.h"

namespace hg {

/// Writes FOLDER/step-00001234 and waits for it: see CheckpointWriter. Collective.
std::filesystem::path save_checkpoint(const std::filesystem::path& folder, const RunModel& run,
                                      const TrainState& state, const RunConfig& config,
                                      const Fingerprints& fingerprints = {});

/// Reads this rank's weights and, if the store holds them, moments, whatever layout saved them.
/// Throws if the checkpoint is of another model. Collective.
SavedState load_checkpoint(const std::filesystem::path& checkpoint, RunModel& run);

/// Reads weights and saved buffers alone, of a model that may differ in its gates, and in keys that
/// say how it is trained: parameters' parts that are not in the checkpoint stay as they were drawn.
/// Throws if anything else differs. Returns the names of those parts. Collective.
std::vector<std::string> load_weights(const std::filesystem::path& checkpoint, RunModel& run);

}  // namespace hg
