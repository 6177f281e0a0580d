// Where ranks meet that no MPI connects: rank 0 listens on a port, the others come to it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dist/socket.h"
#include "dist/world.h"

namespace hg {

struct RendezvousOptions {
  int rank = 0, size = 1;
  std::string host;      ///< of rank 0
  int port = 29500;      ///< torchrun's, where the launcher does not say
  std::string job;       ///< must be the same on all ranks; empty where the launcher gives none
  double timeout = 300;  ///< seconds that ranks wait for each other
};

/// From what the launcher says; the job is SLURM_JOB_ID with SLURM_STEP_ID, or TORCHELASTIC_RUN_ID.
/// Throws if it does not say where rank 0 is.
RendezvousOptions rendezvous_of(const World& world, const EnvironmentLookup& environment);

/// A star of TCP connections, for the texts that must go round before NCCL connects the ranks, or
/// without it. Every member makes the same calls in the same order, from one thread. Whatever goes
/// wrong, rank 0 tells all ranks that are there, and all throw the same sentence, which names the
/// rank or the address: a rank that does not come or goes away, two that call themselves the same,
/// one of another job, world size or protocol, a stranger on the port.
class Rendezvous {
 public:
  /// Returns when all ranks have come. The others may come first: they try again until rank 0
  /// listens.
  explicit Rendezvous(const RendezvousOptions& options);
  /// Of rank 0, with a port that is bound but does not listen yet.
  Rendezvous(const RendezvousOptions& options, Socket port);

  int rank() const { return options_.rank; }
  int size() const { return options_.size; }

  /// Every rank's text, by rank, on every rank. `what` says in messages what for.
  std::vector<std::string> gather(const std::string& text, std::string_view what);

 private:
  struct Member {
    Socket socket;
    std::string address;
  };

  void receive_ranks(Socket port);
  void admit(Member member, Socket::Deadline deadline);
  std::string missing() const;
  void join();
  std::string receive_from(int rank, std::string_view what, Socket::Deadline deadline);
  std::string receive_from_root(std::string_view what, Socket::Deadline deadline);
  [[noreturn]] void fail_all(const std::string& sentence);
  Socket::Deadline deadline(double times = 1) const;

  const RendezvousOptions options_;
  std::vector<Member> members_;    // of rank 0: by rank
  std::vector<Member> strangers_;  // of rank 0: connected, but have not said who they are
  Socket root_;                    // of the others
};

}  // namespace hg
