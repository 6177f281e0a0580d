// Losses on their way from tokens to one number that all ranks agree on.
#pragma once

#include <vector>

#include "data/packer.h"
#include "dist/mesh.h"
#include "model/transformer.h"

namespace hg {

/// Sums over the targets of one micro-batch.
struct MicroBatchLoss {
  double loss = 0, squared_lse = 0, targets = 0;

  void add(const MicroBatchLoss& other);
};

/// Waits until the losses are there, if a GPU makes them.
MicroBatchLoss loss_of(const Context& ctx, const HostBatch& batch, const TokenLosses& losses);

/// The losses of the micro-batches of a step, as they come. The processor's are summed up at once,
/// in room for one micro-batch; a GPU keeps those of all of them, so that the host waits once a
/// step.
class StepLosses {
 public:
  /// A meta run takes what the device needs that it plans for.
  StepLosses(const Context& ctx, Arena& arena, std::int64_t tokens, std::int64_t micro_batches);

  /// Where a micro-batch's losses are to be written: the same place for each.
  TokenLosses room() const;
  /// They are, or will be by what is in the GPU's stream.
  void written(const Context& ctx, std::int64_t micro_batch, const HostBatch& batch);
  /// All losses of the step; zero where nothing was written. Begins the next step.
  std::vector<MicroBatchLoss> take(const Context& ctx);

 private:
  std::int64_t kept_;  // micro-batches whose losses wait for take()
  Tensor values_;      // [.., 2, T]: losses, and logsumexp; the last row is where they are written
  std::vector<MicroBatchLoss> sums_;
  std::vector<std::vector<std::int32_t>> targets_;  // of micro-batches that a GPU works on
  std::vector<float> copy_;                         // of a GPU's values
};

/// What ranks tell each other in every step.
struct StepWords {
  std::vector<MicroBatchLoss> losses;
  bool stop = false;  // of any rank: it was asked to end the run behind this step
};

/// The losses of every rank's micro-batches, as many on each rank; a rank without the head has
/// zeros. They come by rank of the data axis, with the same bits on every rank. Collective.
StepWords words_of_all_ranks(const Mesh& mesh, StepWords own);

}  // namespace hg
