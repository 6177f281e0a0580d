// How the program ends, for scripts and for sweeps: docs/checkpoints.md lists the numbers.
#pragma once

#include <exception>

namespace hg {

enum ExitCode {
  kDone = 0,  // also of a run that was asked to stop, and has saved
  kFailed = 1,
  kWrongCommand = 2,
  kTrainingFailed = 3,  // the guard ended it
  kRunInUse = 4,
  kOtherRankFailed = 5
};

/// How a program ends that this has been thrown in.
ExitCode exit_code_of(const std::exception& e);

}  // namespace hg
