// The training loop. A step is Trainer::step(), readable in one sitting; everything that happens
// around steps (logging, validation, checkpoints) is a Hook.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "train/guard/judge.h"
#include "train/micro_batches.h"

namespace hg {

/// What a run needs to continue: with the weights and moments, everything.
struct TrainState {
  std::int64_t step = 0;     // optimizer steps done
  std::int64_t samples = 0;  // sequences consumed: the loader's whole state
  std::int64_t tokens = 0;   // tokens consumed
  GuardState guard = {};
};

struct StepResult {
  std::int64_t step = 0;  // counts from 1
  double loss = 0;        // mean cross-entropy over targets, in nats
  double max_loss = 0;    // largest mean of a micro-batch
  double targets = 0;     // tokens of the batch that have one
  double z = 0;           // root mean square of the logits' logsumexp
  double grad_norm = 0;   // of the mean loss's gradient, before clipping
  double lr = 0;
  bool clipped = false;
  double gradient_scale = 0;  // that the optimizer applied: of the mean, and of clipping; 0: none
  Verdict verdict = {};
  std::int64_t first_sample = 0;  // of the batch
  std::int64_t worst_sample = 0;  // the first of the micro-batch with the largest mean loss
  std::int64_t tokens = 0;        // of this step
  double seconds = 0, data_seconds = 0;
  double waiting_seconds = 0;  // for other ranks; see Mesh
};

/// The guard ended the run: going on would have spoiled the weights.
class TrainingFailed : public Error {
 public:
  using Error::Error;
};

class Trainer;

/// Something that happens around steps. Hooks run in the order they were added.
class Hook {
 public:
  virtual ~Hook() = default;
  virtual void begin(Trainer&) {}
  virtual void before_step(Trainer&) {}
  /// Behind backward. Gradients are still being summed over ranks: ParamStore::finish_reduce.
  virtual void gradients_ready(Trainer&) {}
  /// The verdict on the step was bad: what is under way, such as a checkpoint, is to be finished.
  virtual void settle(Trainer&) {}
  /// The verdict on the step was bad, and what follows is known. Before after_step(), before going
  /// back, before the run stops.
  virtual void bad_step(Trainer&, const StepResult&) {}
  /// The step counts, whether or not its update was skipped.
  virtual void after_step(Trainer&, const StepResult&) {}
  /// In place of after_step(): the run has gone back to the checkpoint whose step the trainer's
  /// state now has. What was said of later steps is void.
  virtual void rewound(Trainer&, const StepResult&) {}
  virtual void end(Trainer&) {}
};

class Trainer {
 public:
  /// `checkpoints` is the run's folder of them, to go back to; may be empty if nothing saves there.
  Trainer(const RunConfig& config, RunModel& run, Loader& loader, TrainState state,
          std::filesystem::path checkpoints = {});

  void add(std::unique_ptr<Hook> hook) { hooks_.push_back(std::move(hook)); }
  /// Asked once a step, on every rank: the run ends behind the step in which any of them says yes.
  void stop_when(std::function<bool()> asked) { asked_to_stop_ = std::move(asked); }
  /// Steps until config.training.steps, or until asked to stop, with the hooks around. Throws
  /// TrainingFailed where the guard stops it.
  void run();
  /// One optimizer step, unless the verdict is another. Where that is to rewind or to stop, nothing
  /// is updated and the step does not count.
  StepResult step();

  /// Has the first micro-batch of the next step seen by instruments, which must outlive it.
  void look_with(const Instruments& instruments) { instruments_ = &instruments; }
  /// The ids of the micro-batch that was seen last.
  const std::vector<std::int32_t>& seen_tokens() const { return micro_batches_.seen_tokens(); }

  const RunConfig& config() const { return config_; }
  /// Whether this is the last step of this process, and of the run.
  bool is_over() const { return stopping_ || is_finished(); }
  bool is_finished() const { return state_.step >= config_.training.steps; }
  const TrainState& state() const { return state_; }
  RunModel& model() { return run_; }
  TokenLosses losses() const { return micro_batches_.losses(); }

 private:
  void update(StepResult& result, double per_target);
  void rewind(const StepResult& result, const std::filesystem::path& checkpoint);

  const RunConfig& config_;
  RunModel& run_;
  Loader& loader_;
  LrSchedule schedule_;
  TrainState state_;
  MicroBatches micro_batches_;
  const Instruments* instruments_ = nullptr;  // of the next step
  std::filesystem::path checkpoints_;
  std::vector<std::unique_ptr<Hook>> hooks_;
  std::function<bool()> asked_to_stop_;
  bool stopping_ = false;
};

}  // namespace hg
