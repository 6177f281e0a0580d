#include "train/exit_code.h"

#include "dist/comm.h"
#include "train/run_lock.h"
#include "train/trainer.h"

namespace hg {

ExitCode exit_code_of(const std::exception& e) {
  if (dynamic_cast<const TrainingFailed*>(&e) != nullptr) return kTrainingFailed;
  if (dynamic_cast<const RunInUse*>(&e) != nullptr) return kRunInUse;
  if (dynamic_cast<const CommAborted*>(&e) != nullptr) return kOtherRankFailed;
  return kFailed;
}

}  // namespace hg
