// How the program ends, for scripts and for sweeps: docs/checkpoints.md lists the numbers.
#pragma once

namespace hg {

enum ExitCode {
  kDone = 0,  // also of a run that was asked to stop, and has saved
  kFailed = 1,
  kWrongCommand = 2,
  kTrainingFailed = 3,  // the guard ended it
  kRunInUse = 4,
  kOtherRankFailed = 5
};

}  // namespace hg
