#include "train/replica_check.h"

#include <xxhash.h>

#include <algorithm>
#include <map>

#include "dist/gather_rows.h"
#include "dist/ranks_words.h"

namespace hg {
namespace {

using Hash = XXH64_hash_t;

Hash hash_of(const void* bytes, std::size_t count) { return XXH3_64bits(bytes, count); }

/// What number of the groups of a mesh a rank is in, of those that hold the same.
int number_of_group(const Mesh& place, Holders holders) {
  switch (holders) {
    case Holders::stage:
      return 0;
    case Holders::replicas:
      return place.tensor.rank;
    case Holders::tensor:
      return place.replicas.rank;
    case Holders::expert_data:
      return place.expert.rank;
    case Holders::nobody_else:
      break;
  }
  return place.stage.rank;
}

/// As many hashes of every rank of the stage, one rank after the other.
std::vector<Hash> gather(const Mesh& mesh, const std::vector<Hash>& own) {
  Comm& comm = mesh.pipeline.size > 1 ? *mesh.stage.comm : *mesh.host;
  return gather_rows<Hash>(comm, own, "replica check");
}

/// Ranks by the i-th of their hashes, in the first group that does not agree; else empty.
std::map<Hash, std::vector<int>> disagreement(const Mesh& mesh, const std::vector<Hash>& hashes,
                                              std::size_t i, Holders holders) {
  const std::size_t each = hashes.size() / static_cast<std::size_t>(mesh.stage.size);
  std::map<int, std::map<Hash, std::vector<int>>> groups;
  const int first = mesh.world.rank - mesh.stage.rank;  // of the stage, in the world
  for (int rank = 0; rank < mesh.stage.size; ++rank) {
    const int group = number_of_group(Mesh::place(mesh.shape(), first + rank), holders);
    groups[group][hashes[static_cast<std::size_t>(rank) * each + i]].push_back(first + rank);
  }
  for (auto& [group, ranks] : groups) {
    if (ranks.size() > 1) return ranks;
  }
  return {};
}

/// Of all that ranks of a kind hold alike, one hash.
constexpr Holders kSharing[] = {Holders::stage, Holders::replicas, Holders::tensor,
                                Holders::expert_data};

std::vector<Hash> summaries(const std::vector<Replica>& replicas, const std::vector<Hash>& hashes) {
  std::vector<Hash> result;
  for (const Holders holders : kSharing) {
    std::vector<Hash> shared;
    for (std::size_t i = 0; i < replicas.size(); ++i)
      if (replicas[i].holders == holders) shared.push_back(hashes[i]);
    result.push_back(hash_of(shared.data(), shared.size() * sizeof(Hash)));
  }
  return result;
}

}  // namespace

void check_replicas(const Context& ctx, const ParamStore& store, std::int64_t step) {
  const Mesh& mesh = store.mesh();
  if (mesh.stage.comm == nullptr) return;
  const std::vector<Replica> replicas = store.replicas();
  std::vector<Hash> hashes;
  std::vector<std::byte> bytes;  // of what is on a GPU
  for (const auto& [name, values, holders] : replicas) {
    bytes.resize(values && on_gpu(ctx) ? static_cast<std::size_t>(values.bytes()) : 0);
    if (!bytes.empty()) load_values(ctx, bytes.data(), values);
    const auto size = static_cast<std::size_t>(values ? values.bytes() : 0);
    hashes.push_back(hash_of(bytes.empty() ? values.data() : bytes.data(), size));
  }

  const std::vector<Hash> sums = gather(mesh, summaries(replicas, hashes));
  bool agree = true;
  for (std::size_t i = 0; i < std::size(kSharing); ++i)
    agree = agree && disagreement(mesh, sums, i, kSharing[i]).empty();
  if (agree) return;

  // All ranks of the stage have seen the same, so all of them come here.
  const std::vector<Hash> all = gather(mesh, hashes);
  std::string text;
  int more = 0;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    const auto ranks = disagreement(mesh, all, i, replicas[i].holders);
    if (ranks.empty()) continue;
    if (!text.empty()) {
      ++more;
      continue;
    }
    for (const auto& [hash, who] : ranks)
      text += fmt::format("{} hash {:016x} on {}", text.empty() ? "" : ",", hash, ranks_words(who));
    text = replicas[i].name + " has" + text;
  }
  fail("step {}: ranks that must hold the same bits do not: {}; {} more differ", step, text, more);
}

void ReplicaCheckHook::after_step(Trainer& trainer, const StepResult& result) {
  if (result.step % trainer.config().training.replica_check_interval != 0) return;
  check_replicas(trainer.model().ctx, trainer.model().store, result.step);
}

}  // namespace hg
