#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/clock.h"
#include "train/checkpoint/checkpoint.h"
#include "train/guard/rewind.h"
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

/// Adds up the losses of all micro-batches, and notes the worst of them: the first that is not
/// finite, or the largest.
MicroBatchLoss take_losses(const RunConfig& config, const Mesh& mesh,
                           const std::vector<MicroBatchLoss>& losses, StepResult& result) {
  MicroBatchLoss sums;
  bool finite = true;
  const auto ranks = static_cast<std::size_t>(mesh.data.size), each = losses.size() / ranks;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    sums.add(losses[i]);
    if (losses[i].targets == 0) continue;
    const double mean = losses[i].loss / losses[i].targets;
    if (finite && !(mean <= result.max_loss)) {
      // Losses come rank by rank; samples go from one rank to the next.
      const auto place = static_cast<std::int64_t>(i % each * ranks + i / each);
      result.worst_sample = result.first_sample + place * config.training.micro_batch_size;
    }
    finite = finite && std::isfinite(mean);
    result.max_loss = std::max(result.max_loss, mean);
  }
  return sums;
}

}  // namespace

Trainer::Trainer(const RunConfig& config, RunModel& run, Loader& loader, TrainState state,
                 std::filesystem::path checkpoints)
    : config_(config),
      run_(run),
      loader_(loader),
      schedule_(make_schedule(config)),
      state_(std::move(state)),
      micro_batches_(config, run),
      checkpoints_(std::move(checkpoints)) {}

void Trainer::run() {
  for (const auto& hook : hooks_) hook->begin(*this);
  while (!is_over()) {
    for (const auto& hook : hooks_) hook->before_step(*this);
    StepResult result = step();
    std::filesystem::path checkpoint;
    if (result.verdict.bad != BadStep::none) {
      for (const auto& hook : hooks_) hook->settle(*this);
    }
    if (result.verdict.action == Action::rewind)
      checkpoint = choose_checkpoint(run_.store.mesh(), checkpoints_, result.verdict);
    if (result.verdict.bad != BadStep::none) {
      for (const auto& hook : hooks_) hook->bad_step(*this, result);
    }
    if (result.verdict.action == Action::stop) throw TrainingFailed(stop_sentence(config_, result));
    if (result.verdict.action == Action::rewind) {
      rewind(result, checkpoint);
      for (const auto& hook : hooks_) hook->rewound(*this, result);
    } else {
      for (const auto& hook : hooks_) hook->after_step(*this, result);
    }
  }
  for (const auto& hook : hooks_) hook->end(*this);
}

StepResult Trainer::step() {
  const auto start = Clock::now();
  const Mesh& mesh = run_.store.mesh();
  const double waited = mesh.waiting_seconds();
  StepResult result{
      .step = state_.step + 1, .lr = schedule_.at(state_.step), .first_sample = state_.samples};
  const StepWords words = words_of_all_ranks(
      mesh, {.losses = micro_batches_.step(loader_, std::exchange(instruments_, nullptr)),
             .stop = asked_to_stop_ && asked_to_stop_()});
  stopping_ = words.stop;
  const MicroBatchLoss sums = take_losses(config_, mesh, words.losses, result);
  result.data_seconds = micro_batches_.data_seconds();
  result.tokens = config_.training.global_batch_size * config_.training.seq_len;
  HG_CHECK(sums.targets > 0,
           "step {}: no token of the batch has a target; are all documents one token long?",
           result.step);

  // Gradients are of the sum over targets; the mean's are that divided by their number.
  const double per_target = 1 / sums.targets;
  result.targets = sums.targets;
  result.loss = sums.loss * per_target;
  result.z = std::sqrt(sums.squared_lse * per_target);
  for (const auto& hook : hooks_) hook->gradients_ready(*this);
  result.grad_norm = gradient_norm(run_.ctx, run_.store) * per_target;
  result.verdict = judge(config_.guard, state_.guard, result.loss, result.grad_norm);
  const Action action = result.verdict.action;
  if (action == Action::update) update(result, per_target);
  if (action == Action::update || action == Action::skip_update) {
    state_.step = result.step;
    state_.samples += config_.training.global_batch_size;
    state_.tokens += result.tokens;
  }
  result.seconds = seconds_since(start);
  result.waiting_seconds = mesh.waiting_seconds() - waited;
  return result;
}

void Trainer::update(StepResult& result, double per_target) {
  const double limit = config_.training.max_grad_norm;
  result.clipped = result.grad_norm > limit;
  const double clip = result.clipped ? limit / result.grad_norm : 1.0;
  result.gradient_scale = clip * per_target;
  adamw_step(run_.ctx, run_.store, config_.optimizer, result.lr, result.gradient_scale,
             result.step);
  run_.model.end_step(run_.ctx);
}

void Trainer::rewind(const StepResult& result, const std::filesystem::path& checkpoint) {
  const TrainState before = std::exchange(state_, load_checkpoint(checkpoint, run_).state);
  // Samples go on behind the bad batch, where the loader already is.
  state_.samples = before.samples + config_.training.global_batch_size;
  state_.tokens = before.tokens + result.tokens;
  state_.guard.cooldown = before.guard.cooldown;
  state_.guard.rewinds = before.guard.rewinds;
}

}  // namespace hg
