// The micro-batches of a step on their way through this rank's part of the model, in the order of
// the pipeline's schedule. A rank that has the whole model does one after the other.
#pragma once

#include <exception>
#include <vector>

#include "data/loader.h"
#include "dist/pipeline_schedule.h"
#include "train/micro_batch_loss.h"
#include "train/micro_step_graphs.h"
#include "train/run_model.h"

namespace hg {

/// The schedule of the pipeline stage at this place of the mesh.
PipelineSchedule schedule_of(const RunConfig& config, const Mesh& mesh);

class MicroBatches {
 public:
  /// What is in flight lies in ctx.activations and in the arenas of run.in_flight.
  MicroBatches(const RunConfig& config, RunModel& run);
  /// Before the memory goes, waits for what is being sent.
  ~MicroBatches();
  MicroBatches(const MicroBatches&) = delete;
  MicroBatches& operator=(const MicroBatches&) = delete;

  /// Forward and backward of all micro-batches of a step; gradients are left in the store, on their
  /// way to other ranks. Instruments, if given, see the first one. Returns the losses of this
  /// rank's micro-batches, all zero where another stage has the head.
  std::vector<MicroBatchLoss> step(Loader& loader, const Instruments* instruments);

  /// Seconds of the last step in which the loader was waited for.
  double data_seconds() const { return data_seconds_; }
  /// The ids of the micro-batch that instruments saw last.
  const std::vector<std::int32_t>& seen_tokens() const { return seen_tokens_; }
  /// Room for those of one batch, between steps.
  TokenLosses losses() const { return losses_.room(); }

 private:
  struct Slot {
    Flight flight;
    CommQueue::Ticket sent[PipelineLinks::kWays] = {};
  };
  void act(const PipelineAction& action, Loader& loader, const Instruments* instruments);
  /// Both passes of a micro-batch through the whole model, in a graph where that can be.
  void act_as_one(int micro_batch, Loader& loader, const Instruments* instruments);
  MicroBatch place_in_step(int micro_batch) const;
  void forward(const PipelineAction& action, const Batch& batch, const Instruments* instruments);
  void backward(const PipelineAction& action, const Batch& batch);
  /// Documents that the batch is to have on every rank's GPU; 0 if each may have its own number.
  std::int64_t shared_documents(const HostBatch& batch) const;
  /// The place of a micro-batch in batches_, loaded.
  std::size_t load(int micro_batch, Loader& loader);
  void finish(Slot& slot);

  const RunConfig& config_;
  RunModel& run_;
  const Mesh& mesh_;
  PipelineSchedule schedule_;
  std::int64_t micro_batches_;
  std::vector<Slot> slots_;
  std::vector<HostBatch> batches_;  // of micro-batches begun and not done
  std::vector<Batch> views_;        // of those, where the context computes
  int loaded_ = 0;                  // micro-batches of the step
  StepLosses losses_;
  MicroStepGraphs graphs_;
  const int exceptions_ = std::uncaught_exceptions();  // alive when this was made
  double data_seconds_ = 0;
  std::vector<std::int32_t> seen_tokens_;
};

}  // namespace hg
