// The beginning of a run of many ranks: the connection, and the proof that all run the same thing.
#pragma once

#include <memory>
#include <string>

#include "dist/comm.h"
#include "dist/gather_text.h"
#include "dist/world.h"

namespace hg {

/// The communicator of all ranks: alone, or over MPI. Throws if MPI counts the ranks differently,
/// as it does when the launcher that `world` was found from did not start MPI.
std::unique_ptr<Comm> connect(const World& world);

/// What must be the same on all ranks.
struct WorldFacts {
  int size;            ///< that the rank was told
  std::string build;   ///< version and revision; at most 60 bytes of it and of `config` count
  std::string config;  ///< a hash of the resolved config
};

/// Compares the facts of all ranks, before anything else is done. Throws the same sentence on every
/// rank if they differ: who has which value.
void agree(Comm& world, const WorldFacts& facts);
/// The same between `size` ranks that are connected in another way.
void agree(int size, const TextGather& gather, const WorldFacts& facts);

}  // namespace hg
