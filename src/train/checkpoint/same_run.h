// Whether a run that continues is the run that was interrupted.
#pragma once

#include "train/checkpoint/state_file.h"

namespace hg {

/// How near to each other losses are of a step that is computed once more.
enum class Repeats {
  bits,   // same layout, same kind of processor, nothing changed that matters
  about,  // as before, but ranks, processor or precision of the sums are others
  no      // the config asks for something else, or allows other data
};

/// Throws for what a resumed run may not change: the model is in the checkpoint's tensors, the data
/// order in its count of samples. Logs what else is different. `layout` and `processor` are of the
/// process that continues; `folder` is the run's.
Repeats check_same_run(const RunConfig& config, const std::filesystem::path& checkpoint,
                       const Fingerprints& saved, const Fingerprints& now,
                       const std::string& layout, const std::string& processor);

}  // namespace hg
