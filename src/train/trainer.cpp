#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/clock.h"
#include "train/optimizer.h"

namespace hg {
namespace {

LrSchedule make_schedule(const RunConfig& config) {
  const auto& scheduler = config.lr_scheduler;
  return {.kind = scheduler.decay,
          .peak = config.optimizer.lr,
          .floor = scheduler.min_lr,
          .warmup_steps = scheduler.warmup_steps,
          .decay_steps = config.decay_steps(),
          .total_steps = config.training.steps};
}

}  // namespace

Trainer::Trainer(const RunConfig& config, RunModel& run, Loader& loader, TrainState state)
    : config_(config),
      run_(run),
      loader_(loader),
      schedule_(make_schedule(config)),
      state_(state),
      micro_batches_(config, run) {}

void Trainer::run() {
  for (const auto& hook : hooks_) hook->begin(*this);
  while (!is_over()) {
    for (const auto& hook : hooks_) hook->before_step(*this);
    const StepResult result = step();
    for (const auto& hook : hooks_) hook->after_step(*this, result);
  }
  for (const auto& hook : hooks_) hook->end(*this);
}

StepResult Trainer::step() {
  const auto start = Clock::now();
  const Mesh& mesh = run_.store.mesh();
  const double waited = mesh.waiting_seconds();
  StepResult result{.step = state_.step + 1, .lr = schedule_.at(state_.step)};
  const StepWords words = words_of_all_ranks(
      mesh, {.losses = micro_batches_.step(loader_, std::exchange(instruments_, nullptr)),
             .stop = asked_to_stop_ && asked_to_stop_()});
  stopping_ = words.stop;
  MicroBatchLoss sums;
  for (const MicroBatchLoss& micro : words.losses) {
    sums.add(micro);
    if (micro.targets > 0) result.max_loss = std::max(result.max_loss, micro.loss / micro.targets);
  }
  result.data_seconds = micro_batches_.data_seconds();
  result.tokens = config_.training.global_batch_size * config_.training.seq_len;
  HG_CHECK(sums.targets > 0,
           "step {}: no token of the batch has a target; are all documents one token long?",
           result.step);

  // Gradients are of the sum over targets; the mean's are that divided by their number.
  const double per_target = 1 / sums.targets;
  result.loss = sums.loss * per_target;
  result.z = std::sqrt(sums.squared_lse * per_target);
  result.grad_norm = gradient_norm(run_.ctx, run_.store) * per_target;
  HG_CHECK(std::isfinite(result.loss) && std::isfinite(result.grad_norm),
           "step {}: loss {}, gradient norm {}: not finite; stopped before the optimizer step. "
           "Samples {} to {} "
           "of the run were in the batch; the newest checkpoint is untouched",
           result.step, result.loss, result.grad_norm, state_.samples,
           state_.samples + config_.training.global_batch_size - 1);

  const double limit = config_.training.max_grad_norm;
  result.clipped = result.grad_norm > limit;
  const double clip = result.clipped ? limit / result.grad_norm : 1.0;
  result.gradient_scale = clip * per_target;
  adamw_step(run_.ctx, run_.store, config_.optimizer, result.lr, result.gradient_scale,
             result.step);
  run_.model.end_step(run_.ctx);

  state_.step = result.step;
  state_.samples += config_.training.global_batch_size;
  state_.tokens += result.tokens;
  state_.recent_losses.push_back(result.loss);
  if (state_.recent_losses.size() > TrainState::kRecentLosses)
    state_.recent_losses.erase(state_.recent_losses.begin());
  result.seconds = seconds_since(start);
  result.waiting_seconds = mesh.waiting_seconds() - waited;
  return result;
}

}  // namespace hg
