#include "train/trainer.h"

#include <cmath>

#include "core/clock.h"
#include "dist/collectives.h"
#include "train/evaluate.h"
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
    : config_(config), run_(run), loader_(loader), schedule_(make_schedule(config)), state_(state) {
  losses_ = allocate_losses(run.tables, micro_batch_tokens(config.training, run.store.mesh()));
}

void Trainer::run() {
  for (const auto& hook : hooks_) hook->begin(*this);
  while (state_.step < config_.training.steps) {
    for (const auto& hook : hooks_) hook->before_step(*this);
    const StepResult result = step();
    for (const auto& hook : hooks_) hook->after_step(*this, result);
  }
  for (const auto& hook : hooks_) hook->end(*this);
}

StepResult Trainer::step() {
  const auto start = Clock::now();
  const double waited = waiting_seconds();
  StepResult result{.step = state_.step + 1, .lr = schedule_.at(state_.step)};
  LossSums sums;
  const std::int64_t micros = config_.training.accumulation_steps(run_.store.mesh().data.size);
  for (std::int64_t micro = 0; micro < micros; ++micro) {
    const auto waiting = Clock::now();
    const HostBatch& batch = loader_.next();
    result.data_seconds += seconds_since(waiting);

    const Instruments* instruments = std::exchange(instruments_, nullptr);
    if (instruments != nullptr) seen_tokens_ = loader_.whole().tokens;
    run_.model.forward_backward(run_.ctx, batch.view(), config_.training.recompute,
                                static_cast<float>(config_.training.z_loss),
                                {.first = micro == 0, .last = micro + 1 == micros}, losses_,
                                instruments);
    add_losses(batch, sums);
  }
  sum_over_ranks(sums);
  result.tokens = config_.training.global_batch_size * config_.training.seq_len;
  HG_CHECK(sums.targets > 0,
           "step {}: no token of the batch has a target; are all documents one token long?",
           result.step);

  // Gradients are of the sum over targets; the mean's are that divided by their number.
  const double per_target = 1.0 / static_cast<double>(sums.targets);
  result.loss = sums.loss * per_target;
  result.max_loss = sums.max_loss;
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
  result.seconds = seconds_since(start);
  result.waiting_seconds = waiting_seconds() - waited;
  return result;
}

double Trainer::waiting_seconds() const {
  const CommQueue* queue = run_.store.mesh().queue;
  return queue == nullptr ? 0 : queue->seconds().waiting;
}

void Trainer::sum_over_ranks(LossSums& sums) {
  const Group& replicas = run_.store.mesh().replicas;
  if (replicas.size == 1) return;
  const ArenaScope scope(run_.ctx.scratch);
  const auto all = [&](DType dtype, std::int64_t n, Reduce reduce) {
    const Tensor x = run_.ctx.scratch.allocate("loss sums", dtype, {n});
    return AllReduce{.x = x, .group = replicas, .reduce = reduce, .label = "losses"};
  };
  const AllReduce losses = all(DType::f32, 2, Reduce::sum);
  losses.x.as<float>()[0] = static_cast<float>(sums.loss);
  losses.x.as<float>()[1] = static_cast<float>(sums.squared_lse);
  hg::run(run_.ctx, losses);
  const AllReduce largest = all(DType::f32, 1, Reduce::max);
  *largest.x.as<float>() = static_cast<float>(sums.max_loss);
  hg::run(run_.ctx, largest);
  const AllReduce targets = all(DType::i32, 1, Reduce::sum);
  *targets.x.as<std::int32_t>() = static_cast<std::int32_t>(sums.targets);
  hg::run(run_.ctx, targets);
  sums = {.loss = double{losses.x.as<float>()[0]},
          .squared_lse = double{losses.x.as<float>()[1]},
          .max_loss = double{*largest.x.as<float>()},
          .targets = *targets.x.as<std::int32_t>()};
}

void Trainer::add_losses(const HostBatch& batch, LossSums& sums) {
  const auto* loss = losses_.loss.as<float>();
  const auto* lse = losses_.lse.as<float>();
  double total = 0, squares = 0;
  std::int64_t targets = 0;
  for (std::size_t t = 0; t < batch.targets.size(); ++t) {
    if (batch.targets[t] < 0) continue;
    total += double{loss[t]};
    squares += double{lse[t]} * double{lse[t]};
    ++targets;
  }
  sums.loss += total;
  sums.squared_lse += squares;
  sums.targets += targets;
  const Evaluation whole = sum_over_context(run_, {.loss = total, .targets = targets});
  if (whole.targets > 0)
    sums.max_loss = std::max(sums.max_loss, whole.loss / static_cast<double>(whole.targets));
}

}  // namespace hg
