#include "train/evaluate.h"

#include <algorithm>

namespace hg {

Evaluation evaluate(RunModel& run, const TokenLosses& losses, const TokenFile& file,
                    const TrainingConfig& training, std::int64_t sequences) {
  Loader loader(file, {.seed = 0,
                       .seq_len = training.seq_len,
                       .sequences = training.micro_batch_size,
                       .first_sample = 0,
                       .order = SampleOrder::sequential,
                       .rank = 0,
                       .ranks = 1});  // every rank reads all of it: no loss is left to be summed
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
  result.loss /= static_cast<double>(result.targets);
  return result;
}

}  // namespace hg
