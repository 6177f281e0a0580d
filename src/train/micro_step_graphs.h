// The passes of micro-batches as CUDA graphs: what the host would enqueue op by op is recorded once
// and then enqueued as a whole.
#pragma once

#include <compare>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "core/gpu_graph.h"
#include "model/transformer.h"
#include "train/config.h"

namespace hg {

/// All that the host decides about a micro-batch and that reaches a kernel's launch or a
/// collective: where two have the same, their passes differ in nothing but what the GPU's memory
/// holds. It is the same on all ranks, which therefore record and launch the same graphs in the
/// same order, as NCCL demands.
struct MicroStepKey {
  bool accumulates = false;  // gradients are added to those of earlier micro-batches
  bool sends = false;        // and go to other ranks, as they do behind the last one
  const Instruments* instruments = nullptr;             // that look; null if none do
  std::int64_t tokens = 0, documents = 0, longest = 0;  // of the batch
  ParamStore::Turns turns = {-1, -1};                   // of the store, before

  auto operator<=>(const MicroStepKey&) const = default;
};

/// Graphs of the micro-batches of a rank's steps, by their keys. The first micro-batch with a key
/// runs op by op, so that libraries choose their algorithms and connect; the second is recorded.
class MicroStepGraphs {
 public:
  /// What cannot be in a graph of this run is found here, and logged.
  MicroStepGraphs(const RunConfig& config, const Context& ctx, ParamStore& store);

  /// Whether there are any: else every micro-batch runs op by op.
  explicit operator bool() const { return gpu_ != nullptr; }
  /// Does what `work` enqueues, which is both passes of a micro-batch. Collective.
  void run(const Context& ctx, const MicroStepKey& key, const std::function<void()>& work);

 private:
  struct Entry {
    GpuGraphs::Graph graph;   // null until it is recorded
    ParamStore::Turns turns;  // behind it
  };
  /// Whether there is a graph now, on all ranks; a warning says why not.
  bool record(const MicroStepKey& key, Entry& entry, const std::function<void()>& work);
  void say_once(const std::string& sentence);

  static constexpr std::size_t kMost = 16;  // graphs: of each, the GPU keeps all launches
  ParamStore& store_;
  GpuGraphs* gpu_ = nullptr;  // null where there are no graphs
  std::map<MicroStepKey, Entry> graphs_;
  std::set<MicroStepKey> refused_;  // what could not be recorded
  std::set<std::string> said_;
};

}  // namespace hg
