#include "train/micro_batches.h"

#include <algorithm>
#include <utility>

#include "core/clock.h"

namespace hg {
namespace {

/// Puts a slot's memory in the place of the context's activations.
class UseSlot {
 public:
  UseSlot(RunModel& run, int slot) : run_(run), slot_(slot) { exchange(); }
  ~UseSlot() { exchange(); }
  UseSlot(const UseSlot&) = delete;
  UseSlot& operator=(const UseSlot&) = delete;

 private:
  void exchange() {
    if (slot_ > 0) swap(run_.ctx.activations, run_.in_flight[static_cast<std::size_t>(slot_) - 1]);
  }
  RunModel& run_;
  int slot_;
};

}  // namespace

PipelineSchedule schedule_of(const RunConfig& config, const Mesh& mesh) {
  return pipeline_schedule(mesh.pipeline.rank, mesh.pipeline.size, mesh.chunks,
                           static_cast<int>(config.training.accumulation_steps(mesh.data.size)));
}

MicroBatches::MicroBatches(const RunConfig& config, RunModel& run)
    : config_(config),
      run_(run),
      mesh_(run.store.mesh()),
      schedule_(schedule_of(config, mesh_)),
      micro_batches_(config.training.accumulation_steps(mesh_.data.size)),
      slots_(static_cast<std::size_t>(schedule_.slots)),
      batches_(static_cast<std::size_t>(schedule_.batches),
               HostBatch(micro_batch_tokens(config.training, mesh_))),
      views_(batches_.size()),
      losses_(run.ctx, run.tables, micro_batch_tokens(config.training, mesh_), micro_batches_),
      graphs_(config, run.ctx, run.store) {}

MicroBatches::~MicroBatches() {
  if (mesh_.links != nullptr) mesh_.links->leave(exceptions_);
}

std::vector<MicroBatchLoss> MicroBatches::step(Loader& loader, const Instruments* instruments) {
  loaded_ = 0;
  data_seconds_ = 0;
  run_.model.begin_step(run_.ctx);
  if (graphs_) {
    for (int i = 0; i < micro_batches_; ++i) act_as_one(i, loader, i == 0 ? instruments : nullptr);
  } else {
    for (const PipelineAction& action : schedule_.actions)
      act(action, loader, action.micro_batch == 0 ? instruments : nullptr);
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const UseSlot slot(run_, static_cast<int>(i));
    finish(slots_[i]);
  }
  return losses_.take(run_.ctx);
}

void MicroBatches::act(const PipelineAction& action, Loader& loader,
                       const Instruments* instruments) {
  const UseSlot slot(run_, action.slot);
  const std::size_t place = load(action.micro_batch, loader);
  if (action.pass == PipelineAction::Pass::forward) {
    if (instruments != nullptr && action.chunk == 0)
      seen_tokens_ = loader.whole().tokens;  // loaded just now
    forward(action, views_[place], instruments);
  } else {
    backward(action, views_[place]);
    if (run_.model.ends(action.chunk))
      losses_.written(run_.ctx, action.micro_batch, batches_[place]);
  }
}

void MicroBatches::act_as_one(int micro_batch, Loader& loader, const Instruments* instruments) {
  const std::size_t place = load(micro_batch, loader);
  if (instruments != nullptr) seen_tokens_ = loader.whole().tokens;
  const Batch& batch = views_[place];
  const MicroBatch micro = place_in_step(micro_batch);
  const MicroStepKey key{
      .accumulates = !micro.first,
      .sends = micro.last && mesh_.queue != nullptr && run_.store.stage() < ZeroStage::gradients,
      .instruments = instruments,
      .tokens = batch.tokens.dim(0),
      .documents = batch.documents.dim(0) - 1,
      .longest = batch.longest,
      .turns = run_.store.turns()};
  graphs_.run(run_.ctx, key, [&] {
    const PipelineAction whole{
        .pass = PipelineAction::Pass::forward, .micro_batch = micro_batch, .chunk = 0, .slot = 0};
    forward(whole, batch, instruments);
    backward(whole, batch);
  });
  losses_.written(run_.ctx, micro_batch, batches_[place]);
}

MicroBatch MicroBatches::place_in_step(int micro_batch) const {
  return {.first = micro_batch == 0, .last = micro_batch + 1 == micro_batches_};
}

std::size_t MicroBatches::load(int micro_batch, Loader& loader) {
  const std::size_t place = static_cast<std::size_t>(micro_batch) % batches_.size();
  if (micro_batch == loaded_) {
    const auto start = Clock::now();
    batches_[place] = loader.next();
    data_seconds_ += seconds_since(start);
    views_[place] =
        run_.batches[place].put(run_.ctx, batches_[place], shared_documents(batches_[place]));
    ++loaded_;
  }
  return place;
}

std::int64_t MicroBatches::shared_documents(const HostBatch& batch) const {
  // Whether NCCL's calls are part of a graph, and of which, must be the same on all ranks: so must
  // be the number, which is in the graph's key. It is without graphs, too: these change no bit.
  if (!on_gpu(run_.ctx) || mesh_.data.size == 1 || mesh_.context.size > 1) return 0;
  auto most = static_cast<std::int32_t>(padded_documents(batch));
  mesh_.host->all_reduce({&most, DType::i32, {1}}, Reduce::max, "documents of a micro-batch");
  return most;
}

void MicroBatches::forward(const PipelineAction& action, const Batch& batch,
                           const Instruments* instruments) {
  Context& ctx = run_.ctx;
  Slot& slot = slots_[static_cast<std::size_t>(action.slot)];
  finish(slot);  // with the micro-batch that had its place before
  const std::string label = fmt::format("micro-batch {}", action.micro_batch);
  Tensor x;
  if (!run_.model.begins(action.chunk)) {
    x = run_.model.make_stream(ctx.activations, "stream of a chunk", batch.tokens.dim(0));
    mesh_.links->receive(PipelineLinks::kActivations, x, label);
  }
  const Tensor y = run_.model.forward(ctx, action.chunk, batch, x, config_.training.recompute,
                                      slot.flight, instruments);
  if (y)
    slot.sent[PipelineLinks::kActivations] =
        mesh_.links->send(PipelineLinks::kActivations, y, label);
}

void MicroBatches::backward(const PipelineAction& action, const Batch& batch) {
  Context& ctx = run_.ctx;
  Slot& slot = slots_[static_cast<std::size_t>(action.slot)];
  const std::string label = fmt::format("micro-batch {}", action.micro_batch);
  const Tensor d = run_.model.make_stream(ctx.activations, "d stream", batch.tokens.dim(0));
  if (!run_.model.ends(action.chunk)) mesh_.links->receive(PipelineLinks::kGradients, d, label);
  run_.model.backward(ctx, action.chunk, batch,
                      {.recompute = config_.training.recompute,
                       .z_loss = static_cast<float>(config_.training.z_loss),
                       .micro = place_in_step(action.micro_batch)},
                      slot.flight, losses_.room(), d);
  if (!run_.model.begins(action.chunk))
    slot.sent[PipelineLinks::kGradients] = mesh_.links->send(PipelineLinks::kGradients, d, label);
}

/// Waits until what was sent from the slot's memory is on its way, and frees it.
void MicroBatches::finish(Slot& slot) {
  for (const auto way : {PipelineLinks::kActivations, PipelineLinks::kGradients}) {
    if (slot.sent[way] > 0) mesh_.links->wait(way, std::exchange(slot.sent[way], 0));
  }
  run_.ctx.activations.release(0);
}

}  // namespace hg
