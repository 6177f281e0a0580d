#include "train/start.h"

#include "core/log.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/continuity.h"

namespace hg {

namespace fs = std::filesystem;

void begin_fresh(const RunConfig& config, RunModel& run) {
  run.store.initialize(static_cast<std::uint64_t>(config.training.seed));
  run.store.publish(run.ctx);
  const fs::path from = config.checkpoint.init_from;
  if (from.empty()) return;
  const auto checkpoint =
      fs::exists(from / kManifest)
          ? from
          : newest_checkpoint(from / "checkpoints", Inspect::weights, run.store.mesh().host);
  HG_CHECK(checkpoint, "checkpoint.init_from {}: is neither a checkpoint nor a run with one",
           from.string());
  const auto drawn = load_weights(*checkpoint, run);
  log_info("weights from {}", checkpoint->string());
  if (!drawn.empty()) {
    log_warn(
        "{} has no weights for the gates of {} parameters, such as {}: they begin random in a "
        "trained model, which disturbs it and gains little; gates want to be there from the "
        "first step (docs/checkpoints.md)",
        checkpoint->string(), drawn.size(), drawn.front());
  }
}

Start start_run(const RunConfig& config, const RunFolder& folder, const Fingerprints& fingerprints,
                RunModel& run) {
  Start start;
  const auto checkpoint = folder.find_start(config.checkpoint.resume);
  if (!checkpoint) {
    begin_fresh(config, run);
    return start;
  }
  const Mesh& mesh = run.store.mesh();
  const Fingerprints saved = read_state(*checkpoint).fingerprints;
  start.repeats = check_same_run(config, *checkpoint, saved, fingerprints, mesh.shape().to_string(),
                                 processor_of(run.ctx));
  start.state = load_checkpoint(*checkpoint, run).state;
  log_info("continuing from {} at step {}", checkpoint->string(), start.state.step);
  if (start.repeats != Repeats::no && mesh.world.rank == 0) {
    const TrainingConfig& training = config.training;
    start.losses_behind =
        losses_behind(folder.path(), start.state, training.global_batch_size * training.seq_len);
  }
  return start;
}

}  // namespace hg
