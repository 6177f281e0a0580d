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

MicroBatchLoss loss_of(const HostBatch& batch, const TokenLosses& losses);

/// The losses of every rank's micro-batches, as many on each rank; a rank without the head has
/// zeros. They come by rank of the data axis, with the same bits on every rank. Collective.
std::vector<MicroBatchLoss> losses_of_all_ranks(const Mesh& mesh,
                                                const std::vector<MicroBatchLoss>& own);

}  // namespace hg
