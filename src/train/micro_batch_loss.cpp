#include "train/micro_batch_loss.h"

#include <span>
#include <utility>

#include "dist/gather_rows.h"

namespace hg {

void MicroBatchLoss::add(const MicroBatchLoss& other) {
  loss += other.loss;
  squared_lse += other.squared_lse;
  targets += other.targets;
}

namespace {

MicroBatchLoss sum_over(std::span<const std::int32_t> targets, const float* loss,
                        const float* lse) {
  MicroBatchLoss sums;
  for (std::size_t t = 0; t < targets.size(); ++t) {
    if (targets[t] < 0) continue;
    sums.add(
        {.loss = double{loss[t]}, .squared_lse = double{lse[t]} * double{lse[t]}, .targets = 1});
  }
  return sums;
}

}  // namespace

MicroBatchLoss loss_of(const Context& ctx, const HostBatch& batch, const TokenLosses& losses) {
  const HostValues<float> loss(ctx, losses.loss), lse(ctx, losses.lse);
  return sum_over(batch.targets, loss.data(), lse.data());
}

StepLosses::StepLosses(const Context& ctx, Arena& arena, std::int64_t tokens,
                       std::int64_t micro_batches)
    : sums_(static_cast<std::size_t>(micro_batches)) {
  const Device device = ctx.scratch_device();
  kept_ = device == Device::cuda ? micro_batches : 0;
  const std::int64_t rooms = kept_ > 1 ? kept_ + 1 : 1;  // one is where it is written
  values_ = arena.allocate("token losses", DType::f32, {rooms, 2, tokens});
  if (device == Device::cuda) targets_.resize(sums_.size());
}

TokenLosses StepLosses::room() const {
  const Tensor its = values_.rows(values_.dim(0) - 1, values_.dim(0));
  const Shape row{values_.dim(2)};
  return {.loss = its.slice(1, 0, 1).view(row), .lse = its.slice(1, 1, 2).view(row)};
}

void StepLosses::written(const Context& ctx, std::int64_t micro_batch, const HostBatch& batch) {
  const auto i = static_cast<std::size_t>(micro_batch);
  if (on_gpu(ctx)) {
    targets_[i] = batch.targets;
    if (kept_ == 1) return;
    const std::int64_t place = values_.dim(0) - 1;
    copy_values(ctx, values_.rows(micro_batch, micro_batch + 1), values_.rows(place, place + 1));
  } else {
    sums_[i] = loss_of(ctx, batch, room());
  }
}

std::vector<MicroBatchLoss> StepLosses::take(const Context& ctx) {
  if (on_gpu(ctx)) {
    const Tensor all = values_.rows(0, kept_);
    copy_.resize(static_cast<std::size_t>(all.numel()));
    load_values(ctx, copy_.data(), all);
    const std::int64_t tokens = values_.dim(2);
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const float* loss = copy_.data() + static_cast<std::int64_t>(i) * 2 * tokens;
      sums_[i] = sum_over(std::exchange(targets_[i], {}), loss, loss + tokens);
    }
  }
  return std::exchange(sums_, std::vector<MicroBatchLoss>(sums_.size()));
}

StepWords words_of_all_ranks(const Mesh& mesh, StepWords own) {
  const Group& world = mesh.world;
  if (world.size == 1) return own;
  const std::size_t n = own.losses.size();
  own.losses.push_back({.targets = own.stop ? 1.0 : 0.0});  // one message, not two
  const auto all = gather_rows<MicroBatchLoss>(*mesh.host, own.losses, "losses");
  StepWords whole{.losses =
                      std::vector<MicroBatchLoss>(n * static_cast<std::size_t>(mesh.data.size))};
  for (int rank = 0; rank < world.size; ++rank) {
    const auto* of_rank = all.data() + static_cast<std::size_t>(rank) * (n + 1);
    whole.stop = whole.stop || of_rank[n].targets > 0;
    const Mesh place = Mesh::place(mesh.shape(), rank);
    if (place.tensor.rank > 0) continue;  // it has the same tokens as its neighbour
    for (std::size_t i = 0; i < n; ++i)
      whole.losses[static_cast<std::size_t>(place.data.rank) * n + i].add(of_rank[i]);
  }
  return whole;
}

}  // namespace hg
