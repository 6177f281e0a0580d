#include "train/batch_room.h"

#include <algorithm>
#include <bit>

namespace hg {

std::int64_t padded_documents(const HostBatch& batch) {
  const std::int64_t count = std::ssize(batch.documents) - 1, tokens = std::ssize(batch.tokens);
  if (!batch.keys.empty() || count * batch.longest == tokens) return count;
  return std::min(tokens,
                  static_cast<std::int64_t>(std::bit_ceil(static_cast<std::size_t>(count))));
}

BatchRoom::BatchRoom(const Context& ctx, Arena& arena, std::int64_t tokens, bool parts) {
  if (ctx.scratch_device() != Device::cuda) return;
  // Tokens, targets, positions, and documents that may be one token each; of parts also two keys.
  const std::int64_t n = 4 * tokens + 1 + (parts ? 2 * tokens : 0);
  ids_ = arena.allocate("batch", DType::i32, {n});
}

Batch BatchRoom::put(const Context& ctx, const HostBatch& batch, std::int64_t documents) const {
  Batch view = batch.view();
  if (!ids_) return view;
  std::vector<std::int32_t> bounds = batch.documents;  // and empty documents behind the last
  documents = std::max(documents, padded_documents(batch));
  bounds.resize(static_cast<std::size_t>(documents) + 1, bounds.back());
  view.documents = {bounds.data(), DType::i32, {std::ssize(bounds)}};
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
