// Who this process is among those that were started together.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hg {

/// As std::getenv: the variable's value, or null.
using EnvironmentLookup = std::function<const char*(const char*)>;

/// What the command line says; takes precedence. Rank and size only together.
struct WorldFlags {
  std::optional<int> rank, size, local_rank, local_size;
  std::optional<std::string> master;  // "host" or "host:port" of rank 0
};

struct World {
  enum class Source { single, flags, torchrun, slurm, open_mpi, pmi };

  int rank = 0, size = 1;
  int local_rank = 0, local_size = 1;  // among the ranks of this node
  int node = 0, nodes = 1;
  std::string master_host;  // of rank 0; empty where the launcher does not say, as under mpirun
  int master_port = 0;      // 0: not said
  Source source = Source::single;

  /// "rank 5 of 16, local rank 1 of 4 on node 1 of 4, by Slurm; rank 0 is on gpu01"
  std::string sentence() const;
};

/// Looks at the flags, then at the variables of torchrun, Slurm, Open MPI and PMI (MPICH, Hydra,
/// the Intel MPI), in this order; else the process is alone. One exception: mpirun inside a Slurm
/// allocation leaves Slurm's variables of its daemons to the ranks, so where Slurm and Open MPI say
/// different things, Open MPI is right.
///
/// Throws one Error that names the variable: values that are no numbers, a rank without a size, a
/// rank outside the size, local ranks that do not fit, and a master on localhost for several nodes.
/// Where a launcher does not say how the ranks lie on nodes, they are taken to lie in blocks of the
/// local size; with no local size either, one on each node.
World find_world(const EnvironmentLookup& environment, const WorldFlags& flags = {});

/// The variables that a launcher says all this with, whether they are set or not; those of the
/// command line are MASTER_ADDR and MASTER_PORT.
std::vector<std::string> variables_of(World::Source source);

}  // namespace hg
