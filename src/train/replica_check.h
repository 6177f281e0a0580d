// The proof, now and then in a run, that ranks have not drifted apart: a bit that flipped in
// memory, a library that adds in another order on another machine, an exchange that was left out.
#pragma once

#include "train/trainer.h"

namespace hg {

/// Compares hashes of all that ranks must hold bit for bit: ParamStore::replicas. Collective. Where
/// they differ it throws the same sentence on every rank: which parameter is the first, and which
/// ranks have which hash of it.
void check_replicas(const Context& ctx, const ParamStore& store, std::int64_t step);

/// Checks every training.replica_check_interval steps, which must be > 0. On all ranks.
class ReplicaCheckHook : public Hook {
 public:
  void after_step(Trainer& trainer, const StepResult& result) override;
};

}  // namespace hg
