// What neighbouring pipeline stages send each other: activations to the stage behind, gradients to
// the one in front. The last stage and the first are neighbours, too: chunks of layers go around.
#pragma once

#include <memory>
#include <vector>

#include "dist/comm_queue.h"

namespace hg {

/// The four ways of one stage. A send returns at once, a receive when the tensor is there; so no
/// order of the two can lock stages up, as long as each stage receives in the order in which its
/// neighbour sends.
class PipelineLinks {
 public:
  enum Way : std::size_t { kActivations, kGradients, kWays };

  /// Collective over `stages`. `world` as in CommQueue.
  PipelineLinks(Comm& stages, Comm& world);

  /// x must stay as it is until the ticket has been waited for.
  CommQueue::Ticket send(Way way, const ConstTensor& x, std::string_view label);
  void wait(Way way, CommQueue::Ticket ticket);
  void receive(Way way, const Tensor& x, std::string_view label);

  /// For owners of memory that is being sent; as in CommQueue.
  void leave(int exceptions) noexcept {
    for (Link& link : links_) link.queue->leave(exceptions);
  }

  /// What this rank has sent so far.
  CommCounts counts(Way way) const { return links_[way].out->counts(); }

  /// Seconds that receive and wait have blocked.
  double waiting_seconds() const;

 private:
  struct Link {
    std::unique_ptr<Comm> out, in;     // two ranks each: a way has a thread at either end
    std::unique_ptr<CommQueue> queue;  // of `out`; last
  };
  Link links_[kWays];
};

}  // namespace hg
