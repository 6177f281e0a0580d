#include "train/checkpoint/continuity.h"

#include <cmath>

#include "core/file.h"
#include "core/log.h"
#include "train/spikes/loss_series.h"

namespace hg {

std::vector<LossPoint> losses_behind(const std::filesystem::path& metrics, std::int64_t step,
                                     std::size_t most) {
  std::vector<LossPoint> result;
  if (!std::filesystem::exists(metrics)) return result;
  for (const LossPoint& point :
       parse_loss_json_lines(read_file(metrics), metrics.string()).points) {
    const bool next = point.step == step + std::ssize(result) + 1;
    if (next && std::isfinite(point.loss) && result.size() < most) result.push_back(point);
  }
  return result;
}

void ContinuityHook::after_step(Trainer& trainer, const StepResult& result) {
  if (next_ >= before_.size()) return;
  const LossPoint& before = before_[next_++];
  const double off = std::abs(result.loss / before.loss - 1);
  HG_CHECK(
      next_ > 1 || off <= kMost,
      "step {}: the loss is {}, and was {} before the run was interrupted: the checkpoint, the "
      "data or the machine is not what it was",
      result.step, result.loss, before.loss);
  if (repeats_ == Repeats::bits && result.loss != before.loss) {
    conclude(trainer, fmt::format("step {}: the loss is {}, and was {} before the run was "
                                  "interrupted: {:.1e} off, where bits should repeat",
                                  result.step, result.loss, before.loss, off));
    next_ = before_.size();
  } else if (next_ == before_.size()) {
    conclude(trainer, fmt::format("{} steps computed once more have the losses that they had{}",
                                  next_, repeats_ == Repeats::bits ? ", bit for bit" : ", about"));
  }
}

void ContinuityHook::conclude(const Trainer& trainer, std::string sentence) {
  log_info("{}", sentence);
  write_row(sinks_, trainer, "event", {}, {{"resumed", std::move(sentence)}});
}

}  // namespace hg
