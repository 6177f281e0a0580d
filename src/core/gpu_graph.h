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

  /// What `work` enqueues in this stream, and in others that wait for marks which are made here
  /// meanwhile: this one must have waited for all of theirs when `work` returns. None of it runs.
  /// Throws if that cannot be recorded: if `work` waits for the GPU, allocates, uploads, or waits
  /// for marks from before. Then the streams are as they were.
  /// Marks that are made meanwhile are of no use behind it.
  virtual Graph record(const std::function<void()>& work) = 0;

  /// Enqueues what was recorded, in the place of what `work` would. Nobody calls that, but a stream
  /// that checks whether it is still the same.
  virtual void launch(const Graph& graph, const std::function<void()>& work) = 0;

 protected:
  ~GpuGraphs() = default;
};

}  // namespace hg
