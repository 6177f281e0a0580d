#include "train/sweep/divergence.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace hg {
namespace {

double median(const std::deque<double>& window) {
  std::vector<double> sorted(window.begin(), window.end());
  std::ranges::sort(sorted);
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace

DivergenceRule::DivergenceRule(const DivergedConfig& config, std::int64_t warmup_steps,
                               double expected_loss)
    : config_(config), warmup_steps_(warmup_steps), initial_(expected_loss) {}

void DivergenceRule::add_train(std::int64_t step, double loss, double grad_norm) {
  if (diverged_) return;
  if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
    diverged_ = {step, "the loss or the gradient's norm is not finite"};
    return;
  }
  if (step <= warmup_steps_) return;
  window_.push_back(loss);
  if (std::ssize(window_) < config_.window) return;
  if (std::ssize(window_) > config_.window) window_.pop_front();
  if (const double middle = median(window_); middle > limit()) {
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
