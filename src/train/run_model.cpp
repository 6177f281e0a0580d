#include "train/run_model.h"

#include <algorithm>

#include "model/flops.h"
#include "train/evaluate.h"
#include "train/fp8_support.h"
#include "train/looks/update_norms.h"
#include "train/micro_batch_loss.h"
#include "train/micro_batches.h"
#include "train/optimizer.h"

namespace hg {
namespace {

/// A batch that only has shapes: the longest documents there can be, and as many as there can be.
Batch shape_of_batch(Arena& arena, const TrainingConfig& training, const Mesh& mesh) {
  const std::int64_t tokens = micro_batch_tokens(training, mesh);
  const auto ids = [&](std::int64_t n) { return arena.allocate("ids", DType::i32, {n}); };
  return {.tokens = ids(tokens),
          .targets = ids(tokens),
          .positions = ids(tokens),
          .documents = ids(tokens + 1),
          .keys = mesh.context.size > 1 ? ids(2 * tokens).view({tokens, 2}) : Tensor{},
          .longest = training.seq_len};
}

std::vector<KindCount> count_by_kind(const ParamStore& store) {
  std::vector<KindCount> kinds;
  for (const ParamSpec& spec : store.specs()) {
    for (const auto& part : spec.parts) {
      if (part.numel == 0) continue;
      const auto found = std::ranges::find(kinds, part.kind, &KindCount::kind);
      if (found == kinds.end()) {
        kinds.push_back({part.kind, spec.repeats * part.numel});
      } else {
        found->numel += spec.repeats * part.numel;
      }
    }
  }
  return kinds;
}

void make_batch_rooms(RunModel& run, const RunConfig& config, const Mesh& mesh,
                      const PipelineSchedule& schedule) {
  run.batches.clear();
  for (int i = 0; i < schedule.batches; ++i) {
    run.batches.emplace_back(run.ctx, run.tables, micro_batch_tokens(config.training, mesh),
                             mesh.context.size > 1);
  }
}

/// One micro-batch through all chunks of this rank, forward and backward.
void run_micro_batch(RunModel& meta, const RunConfig& config, const Batch& batch,
                     const TokenLosses& losses, const Instruments* instruments) {
  Context& ctx = meta.ctx;
  meta.model.begin_step(ctx);
  for (int chunk = 0; chunk < meta.model.chunks(); ++chunk) {
    const ArenaScope slot(ctx.activations);
    const auto stream = [&](const char* label) {
      return meta.model.make_stream(ctx.activations, label, batch.tokens.dim(0));
    };
    const Tensor x = meta.model.begins(chunk) ? Tensor{} : stream("stream of a chunk");
    Flight flight;
    meta.model.forward(ctx, chunk, batch, x, config.training.recompute, flight, instruments);
    meta.model.backward(ctx, chunk, batch,
                        {.recompute = config.training.recompute,
                         .z_loss = static_cast<float>(config.training.z_loss)},
                        flight, losses, stream("d stream"));
  }
}

}  // namespace

ZeroStage zero_stage(const RunConfig& config) {
  return static_cast<ZeroStage>(config.parallelism.zero_stage);
}

RunModel::RunModel(const ModelConfig& config, Device device, const CpuInfo& cpu, const Mesh& mesh,
                   ZeroStage stage)
    : store(mesh, stage), model(config, store), whole(declare_model(config)) {
  ctx.device = device;
  ctx.cpu = cpu;
}

std::int64_t micro_batch_tokens(const TrainingConfig& training, const Mesh& mesh) {
  return training.micro_batch_size * training.seq_len / mesh.context.size;
}

TokenLosses allocate_losses(Arena& arena, std::int64_t tokens) {
  const Tensor both = arena.allocate("token losses", DType::f32, {2, tokens});
  return {.loss = both.rows(0, 1).view({tokens}), .lse = both.rows(1, 2).view({tokens})};
}

DType compute_dtype(Precision precision, const CpuInfo& cpu, Device device) {
  if (precision == Precision::automatic)
    return device == Device::cuda || cpu.amx_bf16 ? DType::bf16 : DType::f32;
  return precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

std::size_t StepPlan::total_bytes() const {
  std::size_t sum = 0;
  for (const Memory& part : memory) sum += part.bytes;
  return sum;
}

std::int64_t StepPlan::total_parameters() const {
  std::int64_t sum = 0;
  for (const auto& part : parameters) sum += part.numel;
  return sum;
}

namespace {

/// The plan, and its trace, for as many rows at the experts of this rank as there may be.
StepPlan plan_fullest_step(const RunConfig& config, const CpuInfo& cpu, const Mesh& mesh) {
  StepPlan plan{};
  RunModel meta(config.model, Device::meta, cpu, mesh, zero_stage(config));
  meta.ctx.plans_for = config.training.device;
  meta.ctx.fp8 = config.training.fp8;
  meta.store.allocate(Device::meta,
                      compute_dtype(config.training.precision, cpu, config.training.device),
                      ParamStore::Purpose::training);
  meta.model.make_tables(meta.ctx, meta.tables);
  const std::int64_t tokens = micro_batch_tokens(config.training, mesh);
  const Batch batch = shape_of_batch(meta.data, config.training, mesh);
  const PipelineSchedule schedule = schedule_of(config, mesh);
  make_batch_rooms(meta, config, mesh, schedule);
  const StepLosses step_losses(meta.ctx, meta.tables, tokens,
                               config.training.accumulation_steps(mesh.data.size));
  const TokenLosses losses = step_losses.room();

  infer_batch(meta, batch, losses);
  if (config.metrics.instrument_interval > 0) {
    const Instruments instruments(config.model, tokens * mesh.context.size, meta.tables, {}, mesh);
    run_micro_batch(meta, config, batch, losses, &instruments);
    measure_updates(meta, config.optimizer, config.optimizer.lr, 1, 1);
  }
  meta.ctx.trace = &plan.trace;
  run_micro_batch(meta, config, batch, losses, nullptr);
  meta.ctx.trace = &plan.update_trace;
  gradient_norm(meta.ctx, meta.store);
  adamw_step(meta.ctx, meta.store, config.optimizer, config.optimizer.lr, 1, 1);
  meta.model.end_step(meta.ctx);

  plan.parameters = count_by_kind(*meta.whole);
  plan.active_parameters = active_parameters(config.model, *meta.whole);
  for (const Arena* arena : meta.store.arenas()) {
    if (arena->high_water() > 0) plan.memory.push_back({arena->name(), arena->high_water(), {}});
  }
  plan.slots = schedule.slots;
  for (const Arena* arena : {&meta.ctx.activations, &meta.ctx.scratch, &meta.tables}) {
    const bool in_slots = arena == &meta.ctx.activations;
    plan.memory.push_back(
        {arena->name(), arena->high_water() * static_cast<std::size_t>(in_slots ? plan.slots : 1),
         arena->high_water_entries()});
  }
  plan.activations = meta.ctx.activations.high_water();
  plan.scratch = meta.ctx.scratch.high_water();
  plan.tables = meta.tables.high_water();
  return plan;
}

/// No expert takes more than its share: then an exchange has no more rows than there are tokens.
RunConfig with_even_load(RunConfig config) {
  double& factor = config.model.moe.capacity_factor;
  factor = factor > 0 ? std::min(factor, 1.0) : 1.0;
  return config;
}

}  // namespace

StepPlan plan_step(const RunConfig& config, const CpuInfo& cpu, const Mesh& mesh) {
  StepPlan plan = plan_fullest_step(config, cpu, mesh);
  if (mesh.expert.size > 1) plan.trace = plan_fullest_step(with_even_load(config), cpu, mesh).trace;
  return plan;
}

std::unique_ptr<RunModel> make_training_model(const RunConfig& config, const CpuInfo& cpu,
                                              const StepPlan& plan, const Mesh& mesh,
                                              const std::shared_ptr<GpuStream>& gpu) {
  const Device device = gpu ? Device::cuda : Device::cpu;
  if (gpu) check_fp8(config.training.fp8, *gpu);
  auto run = std::make_unique<RunModel>(config.model, device, cpu, mesh, zero_stage(config));
  run->ctx.gpu = gpu;
  run->ctx.fp8 = config.training.fp8;
  run->ctx.activations.reserve(plan.activations, gpu);
  for (int slot = 1; slot < plan.slots; ++slot)
    run->in_flight.emplace_back("activations").reserve(plan.activations, gpu);
  run->ctx.scratch.reserve(plan.scratch, gpu);
  run->tables.reserve(plan.tables, gpu);
  run->store.allocate(device, compute_dtype(config.training.precision, cpu, device),
                      ParamStore::Purpose::training, gpu);
  run->model.make_tables(run->ctx, run->tables);
  make_batch_rooms(*run, config, mesh, schedule_of(config, mesh));
  return run;
}

}  // namespace hg
