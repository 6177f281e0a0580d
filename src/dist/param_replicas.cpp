// What a parameter store holds that other ranks hold, too.
#include "dist/param_store.h"

namespace hg {

Holders ParamStore::holders_of(Kind kind, bool is_shard) const {
  // Ranks of the tensor axis have the same places among replicas, hence the same shards.
  if (kind == kWhole) return is_shard ? Holders::tensor : Holders::stage;
  if (is_shard) return Holders::nobody_else;
  return kind == kTensor ? Holders::replicas : Holders::expert_data;
}

std::vector<Replica> ParamStore::replicas() const {
  if (mesh_.queue != nullptr) mesh_.queue->wait_all();
  std::vector<Replica> result;
  for (std::size_t id = 0; id < specs_.size(); ++id) {
    const Place& place = places_[id];
    const Flat& flat = flat_of(place);
    const auto add = [&](const char* what, const Tensor& tensor, bool is_shard) {
      if (!tensor) return;
      const auto [first, begin, end] = cut(id, is_shard);
      result.push_back(
          {.name = specs_[id].name + what,
           .values = begin < end ? tensor.slice(0, begin - first, end - first) : Tensor{},
           .holders = holders_of(place.kind, is_shard)});
    };
    const bool sharded = shards(ZeroStage::optimizer);
    add("", flat.weights, shards(ZeroStage::weights));
    // Weights in f32 that are whole have the master weights in them.
    if (compute_ != DType::f32 || !flat.weights) add(" (master weights)", flat.master, sharded);
    add(" (adam m)", flat.m, sharded);
    add(" (adam v)", flat.v, sharded);
  }
  for (const Buffer& buffer : buffers_) {
    if (!buffer.spec.saved) continue;
    result.push_back(
        {.name = buffer.spec.name, .values = buffer.values, .holders = Holders::stage});
  }
  return result;
}

}  // namespace hg
