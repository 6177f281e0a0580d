#include "train/micro_batch_loss.h"

#include "dist/gather_rows.h"

namespace hg {

void MicroBatchLoss::add(const MicroBatchLoss& other) {
  loss += other.loss;
  squared_lse += other.squared_lse;
  targets += other.targets;
}

MicroBatchLoss loss_of(const HostBatch& batch, const TokenLosses& losses) {
  const auto* loss = losses.loss.as<float>();
  const auto* lse = losses.lse.as<float>();
  MicroBatchLoss sums;
  for (std::size_t t = 0; t < batch.targets.size(); ++t) {
    if (batch.targets[t] < 0) continue;
    sums.add(
        {.loss = double{loss[t]}, .squared_lse = double{lse[t]} * double{lse[t]}, .targets = 1});
  }
  return sums;
}

std::vector<MicroBatchLoss> losses_of_all_ranks(const Mesh& mesh,
                                                const std::vector<MicroBatchLoss>& own) {
  const Group& world = mesh.world;
  if (world.size == 1) return own;
  const auto all = gather_rows<MicroBatchLoss>(*world.comm, own, "losses");
  const std::size_t n = own.size();
  std::vector<MicroBatchLoss> whole(n * static_cast<std::size_t>(mesh.data.size));
  for (int rank = 0; rank < world.size; ++rank) {
    const Mesh place = Mesh::place(mesh.shape(), rank);
    if (place.tensor.rank > 0) continue;  // it has the same tokens as its neighbour
    for (std::size_t i = 0; i < n; ++i) {
      whole[static_cast<std::size_t>(place.data.rank) * n + i].add(
          all[static_cast<std::size_t>(rank) * n + i]);
    }
  }
  return whole;
}

}  // namespace hg
