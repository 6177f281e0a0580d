// Attention by cuDNN, for attention.cu: operands in the layouts of its plans.
#pragma once

#include "ops/cuda/sdpa.h"

namespace hg {

/// The memory of a plan's operands; what the op does not have is cut from the op's scratch.
class SdpaOperands {
 public:
  SdpaOperands(const SdpaShape& shape, const Tensor& room, cudaStream_t stream);

  void set(SdpaOperand operand, const ConstTensor& x) { at(operand) = x.data(); }
  void set(SdpaOperand operand, const float& scalar) { at(operand) = &scalar; }
  void* make(SdpaOperand operand, std::int64_t bytes);
  const void* of(SdpaOperand operand) const { return memory_[static_cast<std::size_t>(operand)]; }

  /// Lengths and offsets of ragged documents.
  void make_offsets(const ConstTensor& documents);

  /// Whether a plan has a value for each row, such as logsumexp, elsewhere than an op: a single
  /// document's lie as the op's do, [heads, tokens].
  bool regrouped() const { return shape_.ragged || shape_.batch > 1; }
  float* make_of_rows(SdpaOperand operand);
  /// From [heads, tokens] to a plan's layout, or back.
  void regroup_rows(float* to, const float* from, bool back);

  void run(const CudnnPlan& plan);

 private:
  const void*& at(SdpaOperand operand) { return memory_[static_cast<std::size_t>(operand)]; }

  const SdpaShape& shape_;
  const cudaStream_t stream_;
  std::byte *free_, *end_;
  SdpaMemory memory_{};
};

/// Puts the op into the stream, by the plan that was chosen for it; `room` is of its scratch.
void run_plan(const AttentionForward& op, const SdpaChoice& choice, const Tensor& room,
              cudaStream_t stream);
void run_plan(const AttentionBackward& op, const SdpaChoice& choice, const Tensor& room,
              Context& ctx, cudaStream_t stream);

}  // namespace hg
