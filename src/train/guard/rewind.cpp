// Where a run goes back to, and what it says where it stops instead.
#include "train/guard/rewind.h"

#include <cmath>

#include "train/checkpoint/checkpoint_folder.h"

namespace hg {

std::filesystem::path choose_checkpoint(const Mesh& mesh, const std::filesystem::path& folder,
                                        Verdict& verdict) {
  if (const auto newest = newest_checkpoint(folder, Inspect::all, mesh.host)) return *newest;
  verdict.action = Action::stop;
  verdict.why_stop = "there is no checkpoint to go back to yet (checkpoint.interval)";
  return {};
}

std::string describe(const StepResult& result) {
  // The sign that a NaN may have means nothing.
  const auto number = [](double value) {
    return std::isnan(value) ? "nan" : fmt::format("{}", value);
  };
  const Verdict& verdict = result.verdict;
  const std::string what =
      verdict.bad == BadStep::spike
          ? fmt::format("a spike, z = {:.1f} above the median {:.4f}", verdict.z, verdict.median)
          : "not finite";
  return fmt::format("loss {}, gradient norm {}: {}", number(result.loss), number(result.grad_norm),
                     what);
}

std::string stop_sentence(const RunConfig& config, const StepResult& result) {
  const std::string& why = result.verdict.why_stop;
  return fmt::format(
      "step {}: {}; stopped before the optimizer step{}{}. Samples {} to {} of the run were in the "
      "batch; the newest checkpoint is untouched",
      result.step, describe(result), why.empty() ? "" : ": ", why, result.first_sample,
      result.first_sample + config.training.global_batch_size - 1);
}

}  // namespace hg
