#include "train/batch_room.h"

namespace hg {

BatchRoom::BatchRoom(const Context& ctx, Arena& arena, std::int64_t tokens, bool parts) {
  if (ctx.scratch_device() != Device::cuda) return;
  // Tokens, targets, positions, and documents that may be one token each; of parts also two keys.
  const std::int64_t n = 4 * tokens + 1 + (parts ? 2 * tokens : 0);
  ids_ = arena.allocate("batch", DType::i32, {n});
}

Batch BatchRoom::put(const Context& ctx, const HostBatch& batch) const {
  Batch view = batch.view();
  if (!ids_) return view;
  std::int64_t used = 0;
  for (ConstTensor* part :
       {&view.tokens, &view.targets, &view.positions, &view.documents, &view.keys}) {
    if (!*part) continue;
    const Tensor own = ids_.rows(used, used + part->numel()).view(part->shape());
    store_values(ctx, own, part->data());
    used += part->numel();
    *part = own;
  }
  return view;
}

}  // namespace hg
