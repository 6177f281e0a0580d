// Measures what connects the ranks: clocks, every pair, and the collectives.
#pragma once

#include <vector>

#include "dist/comm.h"

namespace hg {

/// A rank's system clock against that of rank 0.
struct ClockOffset {
  double seconds;      ///< that it is ahead
  double uncertainty;  ///< half the shortest round trip: the offset is at most this far off
};

/// Of every rank, by rank; on rank 0 alone, elsewhere empty. Collective.
std::vector<ClockOffset> measure_clocks(Comm& world);

/// Whom a rank meets in a round of a tournament in which all meet all others once; -1 if nobody.
/// Rounds count from 0 to tournament_rounds(size) - 1.
int tournament_partner(int rank, int size, int round);
int tournament_rounds(int size);

struct PairLink {
  int a, b;          ///< ranks, a < b
  double latency;    ///< seconds one way, of a message of 4 bytes: half the shortest round trip
  double bandwidth;  ///< bytes/s one way, while as much goes the other way: the best of some tries
};

/// Every pair, on every rank. Pairs that share no rank are measured at the same time. Collective.
std::vector<PairLink> measure_pairs(Comm& world, std::int64_t bytes);

struct CollectiveSpeed {
  CommKind kind;
  std::int64_t bytes;  ///< of the whole tensor
  double seconds;      ///< of one call, on the slowest rank
  double sent;         ///< bytes that a rank sends in it, as CommCounts says
  double rate() const { return sent / seconds; }
};

/// all_reduce, all_gather, reduce_scatter and all_to_all of `bytes` of f32, each called for about
/// `seconds`. The same on every rank. Collective.
std::vector<CollectiveSpeed> measure_collectives(Comm& world, std::int64_t bytes, double seconds);

}  // namespace hg
