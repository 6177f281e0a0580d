// Saving and loading a run's state: a folder of safetensors files, complete or absent.
#pragma once

#include <filesystem>
#include <optional>

#include "train/trainer.h"

namespace hg {

/// Writes FOLDER/step-00001234/{model,optimizer}.safetensors and state.json through a temporary
/// folder, and then removes all but the newest `keep`. Returns the folder written. Collective:
/// whole tensors come together on rank 0, which writes.
std::filesystem::path save_checkpoint(const std::filesystem::path& folder, const RunModel& run,
                                      const TrainState& state, const RunConfig& config,
                                      std::int64_t keep);

/// The newest step-* folder in `folder`, if there is one.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& folder);

/// Reads this rank's weights and, if the store holds them, moments. Throws if the checkpoint is of
/// another model.
TrainState load_checkpoint(const std::filesystem::path& checkpoint, RunModel& run);

}  // namespace hg
