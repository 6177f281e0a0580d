#include "train/evaluate.h"

#include <algorithm>

#include "dist/collectives.h"

namespace hg {

Evaluation evaluate(RunModel& run, const TokenLosses& losses, const TokenFile& file,
                    const TrainingConfig& training, std::int64_t sequences) {
  const Group& context = run.store.mesh().context;
  Loader loader(file, {.seed = 0,
                       .seq_len = training.seq_len,
                       .sequences = training.micro_batch_size,
                       .first_sample = 0,
                       .order = SampleOrder::sequential,
                       .rank = 0,
                       .ranks = 1,  // every rank reads all of it: no other sequences have losses
                       .part = context.rank,
                       .parts = context.size});
  const std::int64_t available = loader.sampler().samples();
  const std::int64_t wanted = sequences > 0 ? std::min(sequences, available) : available;
  const std::int64_t batches = wanted / training.micro_batch_size;
  HG_CHECK(batches > 0,
           "{}: validation needs a micro-batch of {} sequences of {} tokens, there are {}",
           file.prefix(), training.micro_batch_size, training.seq_len, available);

  Evaluation result;
  for (std::int64_t i = 0; i < batches; ++i) {
    const HostBatch& batch = loader.next();
    run.model.forward(run.ctx, batch.view(), losses);
    for (std::size_t t = 0; t < batch.targets.size(); ++t) {
      if (batch.targets[t] < 0) continue;
      result.loss += double{losses.loss.as<float>()[t]};
      ++result.targets;
    }
  }
  result = sum_over_context(run, result);
  result.loss /= static_cast<double>(result.targets);
  return result;
}

Evaluation sum_over_context(RunModel& run, const Evaluation& own) {
  const Group& context = run.store.mesh().context;
  if (context.size == 1) return own;
  const ArenaScope scope(run.ctx.scratch);
  const auto sum = [&](DType dtype, auto value) {
    const Tensor x = run.ctx.scratch.allocate("loss sums", dtype, {1});
    *x.as<decltype(value)>() = value;
    hg::run(run.ctx, AllReduce{.x = x, .group = context, .reduce = Reduce::sum, .label = "losses"});
    return *x.as<decltype(value)>();
  };
  return {.loss = double{sum(DType::f32, static_cast<float>(own.loss))},
          .targets = sum(DType::i32, static_cast<std::int32_t>(own.targets))};
}

}  // namespace hg
