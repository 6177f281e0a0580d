// A trained model as it lies on the disk: where generation, inspection and probes start from.
#pragma once

#include <filesystem>
#include <memory>

#include "data/tokenizer.h"
#include "train/config.h"

namespace hg {

struct TrainedRun {
  std::filesystem::path checkpoint;  // weights are left to load_checkpoint()
  RunConfig config;                  // the checkpoint's
  std::unique_ptr<Tokenizer> tokenizer;
};

/// Opens a checkpoint of the run in `folder`: the newest; or the one that is given, a folder or its
/// name in the run. Throws if there is none, or if its tokenizer has ids that the model has not.
TrainedRun open_trained_run(const std::filesystem::path& folder,
                            const std::filesystem::path& checkpoint = {});

}  // namespace hg
