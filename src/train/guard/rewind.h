// Where a run goes back to, and what it says where it stops instead.
#pragma once

#include <filesystem>
#include <string>

#include "train/trainer.h"

namespace hg {

/// The newest undamaged checkpoint in `folder`, the same for all ranks. Where there is none, the
/// verdict becomes to stop. Collective.
std::filesystem::path choose_checkpoint(const Mesh& mesh, const std::filesystem::path& folder,
                                        Verdict& verdict);

/// What a run says that stops at this step.
std::string stop_sentence(const RunConfig& config, const StepResult& result);

/// "loss 9.1234, gradient norm 3.21: not finite", or "...: a spike, z = 12.3 above the median
/// 4.5678".
std::string describe(const StepResult& result);

}  // namespace hg
