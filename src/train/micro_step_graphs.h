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

/// All that the host decides about a micro-batch and that reaches a kernel's launch: where two have
/// the same, their passes differ in nothing but what the GPU's memory holds.
struct MicroStepKey {
  bool accumulates = false;  // gradients are added to those of earlier micro-batches
  const Instruments* instruments = nullptr;             // that look; null if none do
  std::int64_t tokens = 0, documents = 0, longest = 0;  // of the batch

  auto operator<=>(const MicroStepKey&) const = default;
};

/// Graphs of the micro-batches of a rank's steps, by their keys. The first micro-batch with a key
/// runs op by op, so that libraries choose their algorithms; the second is recorded.
class MicroStepGraphs {
 public:
  /// What cannot be in a graph of this run is found here, and logged.
  MicroStepGraphs(const RunConfig& config, const Context& ctx, const Mesh& mesh);

  /// Whether there are any: else every micro-batch runs op by op.
  explicit operator bool() const { return gpu_ != nullptr; }
  /// Does what `work` enqueues, which is both passes of a micro-batch.
  void run(const Context& ctx, const MicroStepKey& key, MicroBatch micro,
           const std::function<void()>& work);

 private:
  bool communicates(MicroBatch micro) const;
  void say_once(const std::string& sentence);

  static constexpr std::size_t kMost = 16;  // graphs: of each, the GPU keeps all launches
  GpuGraphs* gpu_ = nullptr;                // null where there are no graphs
  bool shares_optimizer_, alone_;
  std::map<MicroStepKey, GpuGraphs::Graph> graphs_;  // null until it is recorded
  std::set<MicroStepKey> refused_;                   // what could not be recorded
  std::set<std::string> said_;
};

}  // namespace hg
