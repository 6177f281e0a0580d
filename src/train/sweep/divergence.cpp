#include "train/sweep/divergence.h"

#include <cmath>

namespace hg {

DivergenceRule::DivergenceRule(const DivergedConfig& config, std::int64_t warmup_steps,
                               double expected_loss)
    : config_(config),
      warmup_steps_(warmup_steps),
      initial_(expected_loss),
      window_(config.window) {}

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
                                   config_.window, middle, limit())};
  }
}

void DivergenceRule::add_validation(std::int64_t step, double loss) {
  if (diverged_) return;
  if (step == 0) {
    if (std::isfinite(loss)) initial_ = loss;
    return;
  }
  if (step <= warmup_steps_) return;
  if (!(loss <= limit()))
    diverged_ = {step, fmt::format("the validation loss is {:.4f}, above {:.4f}", loss, limit())};
}

}  // namespace hg
