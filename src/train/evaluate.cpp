#include "train/evaluate.h"

#include <algorithm>

#include "train/micro_batch_loss.h"

namespace hg {

void infer_batch(RunModel& run, const Batch& batch, const TokenLosses& losses) {
  const bool meta = run.ctx.device == Device::meta;
  PipelineLinks* links = run.store.mesh().links;
  for (int chunk = 0; chunk < run.model.chunks(); ++chunk) {
    const ArenaScope scratch(run.ctx.scratch);
    Tensor x;
    if (!run.model.begins(chunk)) {
      x = run.model.make_stream(run.ctx.scratch, "stream of a chunk", batch.tokens.dim(0));
      if (!meta) links->receive(PipelineLinks::kActivations, x, "validation");
    }
    const Tensor y = run.model.infer(run.ctx, chunk, batch, x, losses);
    if (!y || meta) continue;
    links->wait(PipelineLinks::kActivations,
                links->send(PipelineLinks::kActivations, y, "validation"));
  }
}

Evaluation evaluate(RunModel& run, const TokenLosses& losses, const TokenFile& file,
                    const TrainingConfig& training, std::int64_t sequences) {
  const Mesh& mesh = run.store.mesh();
  const auto load = [&](std::int64_t first_sample, int rank, int ranks) {
    return LoaderOptions{.seed = 0,
                         .seq_len = training.seq_len,
                         .sequences = training.micro_batch_size,
                         .first_sample = first_sample,
                         .order = SampleOrder::sequential,
                         .rank = rank,
                         .ranks = ranks,
                         .part = mesh.context.rank,
                         .parts = mesh.context.size};
  };
  std::vector<MicroBatchLoss> own(1);
  const auto add = [&](Loader& loader, std::int64_t batches, bool counts) {
    for (std::int64_t i = 0; i < batches; ++i) {
      const HostBatch& batch = loader.next();
      infer_batch(run, run.batches.front().put(run.ctx, batch), losses);
      if (counts && mesh.last_stage()) own[0].add(loss_of(run.ctx, batch, losses));
    }
  };
  Loader shared(file, load(0, mesh.data.rank, mesh.data.size));
  const std::int64_t available = shared.sampler().samples();
  const std::int64_t wanted = sequences > 0 ? std::min(sequences, available) : available;
  const std::int64_t batches = wanted / training.micro_batch_size, each = batches / mesh.data.size;
  HG_CHECK(batches > 0,
           "{}: validation needs a micro-batch of {} sequences of {} tokens; the file has {}, of "
           "which validation.sequences asks for {}",
           file.prefix(), training.micro_batch_size, training.seq_len, available, wanted);
  add(shared, each, true);
  // What does not divide is run by all ranks, since none can stay away from a collective.
  const std::int64_t done = each * mesh.data.size;
  if (done < batches) {
    Loader rest(file, load(done * training.micro_batch_size, 0, 1));
    add(rest, batches - done, mesh.data.rank == 0);
  }
  MicroBatchLoss sum;
  const StepWords words = words_of_all_ranks(mesh, {.losses = own});
  for (const MicroBatchLoss& rank : words.losses) sum.add(rank);
  return {.loss = sum.loss / sum.targets, .targets = static_cast<std::int64_t>(sum.targets)};
}

}  // namespace hg
