// Ranks that NCCL connects, with tensors in the memory of a GPU each.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dist/comm.h"
#include "dist/gather_text.h"
#include "dist/nccl/api.h"

namespace hg {

class Rendezvous;

/// How ranks reach each other before NCCL connects them, and beside it.
struct NcclPeers {
  int rank, size;
  /// None where NCCL_COMM_ID is set on all ranks: then NCCL finds them by itself.
  TextGather gather;
  /// Ends the job on all ranks.
  std::function<void(const std::string&)> abort;
  std::function<std::unique_ptr<SideChannel>()> side_channel;  ///< may be null
};

/// Over a world that is there already, MPI's, which must outlive what is made with this.
NcclPeers peers_over(Comm& world);
/// Over TCP. Nothing runs beside NCCL then: there is no side channel, and an abort ends this
/// process with exit code 1, for the launcher to end the others.
NcclPeers peers_over(Rendezvous& rendezvous);

/// Where a rank computes.
struct NcclPlace {
  int device;
  NcclApi::Stream stream;  ///< a cudaStream_t of this device
};

/// Loads libheadgate_nccl.so, and NCCL and the CUDA runtime with it; throws one sentence if one of
/// them is missing.
const NcclApi& load_nccl();

/// The world of all ranks; collective, and every rank needs a device of its own. Tensors are in
/// memory of the device. A call enqueues its work on the stream and returns, but for barrier and
/// split, which wait for all ranks and for all that the stream held before. Groups split off use
/// the same stream; for another stream of the same ranks, make another world.
///
/// Sums are not in rank order, and those of bf16 are rounded at every rank that they pass: results
/// have the same bits on all ranks, but not those of other implementations. A maximum leaves NaN
/// out where another rank has a number (NCCL uses fmax).
///
/// What NCCL notices later, such as a rank that died, throws at the next call of its group, or in
/// one that waits. abort and interrupt end NCCL's kernels on this rank's device. The flight record
/// knows when a call was enqueued, not when the device was done with it (dist/gpu_waits.h); calls
/// that are recorded for a graph (core/gpu_graph.h) are in it, and in counts, once. Graphs must go
/// before their Comms, and before an abort or interrupt: NCCL waits for their end.
///
/// If a rank has no device, or another NCCL, all throw the same sentence, which names it.
std::unique_ptr<Comm> nccl_world(const NcclApi& api, const NcclPeers& peers,
                                 const NcclPlace& place);

}  // namespace hg
