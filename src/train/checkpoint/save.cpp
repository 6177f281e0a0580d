#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/writer.h"

namespace hg {

std::filesystem::path save_checkpoint(const std::filesystem::path& folder, const RunModel& run,
                                      const TrainState& state, const RunConfig& config,
                                      const Fingerprints& fingerprints) {
  CheckpointWriter writer(folder, run, config, fingerprints);
  writer.save(state);
  return writer.finish()->path;
}

}  // namespace hg
