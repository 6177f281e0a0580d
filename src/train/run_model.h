// A model with its parameters and the memory to run it: what training, evaluation, generation and
// planning share. Built twice from the same lines: on Device::meta to measure, then for real.
#pragma once

#include <deque>
#include <memory>

#include "core/batch.h"
#include "model/transformer.h"
#include "train/batch_room.h"
#include "train/config.h"

namespace hg {

struct RunModel {
  RunModel(const ModelConfig& config, Device device, const CpuInfo& cpu, const Mesh& mesh = {},
           ZeroStage stage = ZeroStage::none);
  RunModel(const RunModel&) = delete;
  RunModel& operator=(const RunModel&) = delete;

  Context ctx;
  ParamStore store;
  Transformer model;
  std::unique_ptr<const ParamStore> whole;  // declares the parameters of all ranks; see there
  std::deque<Arena> in_flight;  // activations of micro-batches in flight, beyond the first
  Arena tables{"tables"};       // what lives as long as the run: RoPE, per-token losses
  Arena data{"batch"};          // on Device::meta, the addresses of a batch
  std::vector<BatchRoom> batches{{ctx, tables, 0, false}};  // for those in flight; at least one
};

/// Tokens of a micro-batch that one rank has.
std::int64_t micro_batch_tokens(const TrainingConfig& training, const Mesh& mesh);

/// Room for the losses of a micro-batch of `tokens`.
TokenLosses allocate_losses(Arena& arena, std::int64_t tokens);

/// The element type that `precision` means on this processor, or on a GPU.
DType compute_dtype(Precision precision, const CpuInfo& cpu, Device device = Device::cpu);

/// Elements of all parameters of one kind, such as "gate".
struct KindCount {
  std::string kind;
  std::int64_t numel;
};

/// Numbers that a meta run of one optimizer step gives.
struct StepPlan {
  struct Memory {
    std::string name;
    std::size_t bytes;
    std::vector<Arena::Entry> entries;  // what is live at the peak; empty for parameters
  };
  std::vector<Memory> memory;                // every arena, in the order of the step
  std::size_t activations, scratch, tables;  // bytes to reserve, activations for each slot
  int slots;                                 // micro-batches in flight: PipelineSchedule
  Trace trace;                               // ops of one micro-batch, with an even load of experts
  Trace update_trace;                        // of what is done once a step: norm and optimizer
  std::vector<KindCount> parameters;         // of all ranks, in the order of the model
  double active_parameters;                  // of a token; see model/flops.h

  std::size_t total_bytes() const;
  std::int64_t total_parameters() const;
};

/// What the ranks of `config` share.
ZeroStage zero_stage(const RunConfig& config);

/// Runs one micro-batch, one validation batch and the optimizer of a rank on Device::meta.
StepPlan plan_step(const RunConfig& config, const CpuInfo& cpu, const Mesh& mesh = {});

/// A model that is ready to train: memory reserved as planned, nothing initialised. It computes on
/// the GPU, if there is one.
std::unique_ptr<RunModel> make_training_model(const RunConfig& config, const CpuInfo& cpu,
                                              const StepPlan& plan, const Mesh& mesh = {},
                                              const std::shared_ptr<GpuStream>& gpu = nullptr);

}  // namespace hg
