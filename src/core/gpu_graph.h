// Work of a GPU that is recorded once, and from then on enqueued as a whole.
#pragma once

#include <functional>
#include <memory>

namespace hg {

/// What a GpuStream may be besides: one that records.
class GpuGraphs {
 public:
  /// What was recorded, with the operands that it had then.
  using Graph = std::shared_ptr<void>;

  /// Enqueues what `work` enqueues in this stream. If `graph` is null, `work` is called, and what
  /// it does is recorded there; if not, it is not called. Throws if that cannot be recorded: if
  /// `work` waits for the GPU, allocates, uploads, or makes or waits for marks. Then nothing was
  /// enqueued, and `graph` is null as before.
  virtual void run_graph(Graph& graph, const std::function<void()>& work) = 0;

 protected:
  ~GpuGraphs() = default;
};

}  // namespace hg
