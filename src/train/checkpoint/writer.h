// Writes checkpoints behind the training's back.
#pragma once

#include <filesystem>
#include <future>
#include <optional>
#include <stop_token>

#include "train/checkpoint/manifest.h"
#include "train/checkpoint/snapshot.h"
#include "train/checkpoint/state_file.h"

namespace hg {

/// A checkpoint that is on the disk.
struct Written {
  std::filesystem::path path;
  std::size_t bytes = 0;     // on rank 0 of all ranks, else of this one
  double copy_seconds = 0;   // that training waited for
  double write_seconds = 0;  // from then on until it was durable
};

/// Every rank writes its part into FOLDER/unfinished-*, flushed to the disk; rank 0 waits until all
/// are there, adds config, state and manifest, and gives the folder its name: a checkpoint is whole
/// or absent, whatever is killed when. The folder must be one that all ranks see.
class CheckpointWriter {
 public:
  /// Collective. `run` and `config` must outlive it.
  CheckpointWriter(std::filesystem::path folder, const RunModel& run, const RunConfig& config,
                   Fingerprints fingerprints);
  /// Waits for what this rank writes, not for other ranks.
  ~CheckpointWriter();

  /// Copies the state and returns; waits before until all ranks have written the one before, and
  /// throws what went wrong with it. Collective.
  void save(const TrainState& state);
  /// The save that this rank has finished since the last call. Throws what went wrong with it: then
  /// nothing is left of it, and older checkpoints are as they were.
  std::optional<Written> finished();
  /// Waits until all ranks have written, and the checkpoint has its name. Collective.
  std::optional<Written> finish();

 private:
  struct Job;
  Written write(const Job& job, const std::stop_token& stop) const;
  // What is rank 0's:
  /// Waits for the files of the other ranks.
  std::vector<SavedFile> files_of_others(const Job& job, const std::stop_token& stop) const;
  /// Makes the files of all a checkpoint of this path.
  void commit(const Job& job, std::vector<SavedFile> files,
              const std::filesystem::path& path) const;

  std::filesystem::path folder_;
  const RunModel& run_;
  const RunConfig& config_;
  Fingerprints fingerprints_;
  std::uint64_t attempt_ = 0;  // the same on all ranks, another in every process
  std::stop_source stop_;
  std::future<Written> writing_;  // last: it uses the others
};

}  // namespace hg
