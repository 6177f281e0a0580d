#include "train/sweep/divergence.h"

#include <algorithm>
#include <cmath>

namespace hg {

DivergenceRule::DivergenceRule(const DivergedConfig& config, std::int64_t steps,
                               std::int64_t warmup_steps, double expected_loss)
    : above_initial_(config.above_initial),
      steps_(steps),
      warmup_steps_(warmup_steps),
      window_steps_(config.window > 0 ? config.window
                                      : std::max<std::int64_t>(20, (steps - warmup_steps) / 4)),
      initial_(expected_loss),
      window_(window_steps_) {}

void DivergenceRule::add_train(std::int64_t step, double loss, double grad_norm) {
  if (diverged_) return;
  if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
    diverged_ = {step, "the loss or the gradient's norm is not finite"};
    return;
  }
  if (step <= warmup_steps_) return;
  window_.add(loss);
  if (!window_.full()) return;
  if (const double middle = window_.median(); middle > limit()) {
    diverged_ = {step, fmt::format("the median training loss of {} steps is {:.4f}, above {:.4f}",
                                   window_steps_, middle, limit())};
  }
}

void DivergenceRule::add_validation(std::int64_t step, double loss) {
  if (diverged_) return;
  if (step == 0) {
    if (std::isfinite(loss)) initial_ = loss;
    return;
  }
  const bool counts = step == steps_ || !std::isfinite(loss);
  if (counts && step > warmup_steps_ && !(loss <= limit()))
    diverged_ = {step, fmt::format("the validation loss is {:.4f}, above {:.4f}", loss, limit())};
}

}  // namespace hg
