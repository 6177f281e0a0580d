// cuDNN runs plans; around them, kernels that find where documents begin, and put logsumexps into
// the order that a plan has them in.
#include "ops/cuda/attention_library.h"

#include <limits>

#include "ops/cached_attention.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

/// The ints of a table's row: whole vectors of 16 bytes.
int offsets_row(std::int64_t documents) { return static_cast<int>(documents / 4 + 1) * 4; }

/// What the rows of a table of offsets count: tokens times these.
template <int rows>
struct OffsetStrides {
  int of[rows];
};

/// Row 0: tokens of each document, 0 for those that there are not. Row 1 + i: where each begins in
/// units of strides.of[i], and where the last ends. A thread has a document.
template <int rows>
__global__ void __launch_bounds__(128)
    find_offsets(std::int32_t* __restrict__ table, const std::int32_t* __restrict__ documents,
                 int count, int room, int row, OffsetStrides<rows> strides) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i > room) return;
  const int begin = documents[min(i, count)];
  if (i < room) table[i] = documents[min(i + 1, count)] - begin;
  for (int k = 0; k < rows; ++k) table[(1 + k) * row + i] = begin * strides.of[k];
}

/// From a value for each token of each head, [heads, tokens], to those of documents of `length`
/// tokens, [tokens / length, heads, length]; or back. A thread has a value.
template <class T>
__global__ void __launch_bounds__(256) regroup(T* __restrict__ to, const T* __restrict__ from,
                                               int tokens, int heads, int length, bool back) {
  const int t = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  if (t >= tokens) return;
  const std::int64_t by_head = static_cast<std::int64_t>(head) * tokens + t;
  const std::int64_t by_document =
      (static_cast<std::int64_t>(t / length) * heads + head) * length + t % length;
  to[back ? by_head : by_document] = from[back ? by_document : by_head];
}

constexpr float kLowestScore = std::numeric_limits<float>::lowest(), kOne = 1;

}  // namespace

SdpaOperands::SdpaOperands(const SdpaShape& shape, const Tensor& room, cudaStream_t stream)
    : shape_(shape),
      stream_(stream),
      free_(static_cast<std::byte*>(room.data())),
      end_(free_ + room.bytes()) {}

void* SdpaOperands::make(SdpaOperand operand, std::int64_t bytes) {
  constexpr std::int64_t kAlignment = 256;
  std::byte* const begin = free_;
  free_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  HG_CHECK(free_ <= end_, "attention by cuDNN: there is no room for {} bytes", bytes);
  at(operand) = begin;
  return begin;
}

void SdpaOperands::make_offsets(const ConstTensor& documents) {
  if (!shape_.ragged) return;
  constexpr int kRows = 5;
  constexpr SdpaOperand kOperands[kRows] = {SdpaOperand::q_offsets, SdpaOperand::k_offsets,
                                            SdpaOperand::v_offsets, SdpaOperand::dkv_offsets,
                                            SdpaOperand::stats_offsets};
  const std::int64_t strides[kRows] = {shape_.heads * shape_.d, shape_.k_stride, shape_.v_stride,
                                       shape_.kv_heads * shape_.d, shape_.heads};
  const int row = offsets_row(shape_.batch);
  auto* table = static_cast<std::int32_t*>(make(SdpaOperand::lengths, (1 + kRows) * row * 4));
  OffsetStrides<kRows> units{};
  for (int i = 0; i < kRows; ++i) {
    at(kOperands[i]) = table + (1 + i) * row;
    units.of[i] = static_cast<int>(strides[i]);
  }
  launch(find_offsets<kRows>, dim3(static_cast<unsigned>(shape_.batch) / 128 + 1), dim3(128), 0,
         stream_, table, documents.as<std::int32_t>(), static_cast<int>(documents.dim(0)) - 1,
         static_cast<int>(shape_.batch), row, units);
}

float* SdpaOperands::make_of_rows(SdpaOperand operand) {
  return static_cast<float*>(make(operand, 4 * shape_.tokens * shape_.heads));
}

void SdpaOperands::regroup_rows(float* to, const float* from, bool back) {
  const auto tokens = static_cast<unsigned>(shape_.tokens);
  launch(regroup<float>, dim3((tokens + 255) / 256, static_cast<unsigned>(shape_.heads)), dim3(256),
         0, stream_, to, from, static_cast<int>(tokens), static_cast<int>(shape_.heads),
         shape_.ragged ? 1 : static_cast<int>(shape_.length), back);
}

void SdpaOperands::run(const CudnnPlan& plan) {
  HG_CHECK(plan.workspace() <= end_ - free_, "attention by cuDNN: there is no room to work");
  plan.run(memory_, free_, stream_);
}

namespace {

/// What forward and backward both have.
template <class Op>
void set_shared(SdpaOperands& operands, const Op& op) {
  operands.set(SdpaOperand::q, op.q);
  operands.set(SdpaOperand::k, op.k);
  operands.set(SdpaOperand::v, op.v);
  operands.set(SdpaOperand::o, op.o);
  operands.set(SdpaOperand::scale, op.scale);
  operands.set(SdpaOperand::lowest, kLowestScore);
}

}  // namespace

void run_plan(const AttentionForward& op, const SdpaChoice& choice, const Tensor& room,
              cudaStream_t stream) {
  SdpaOperands operands(choice.shape, room, stream);
  set_shared(operands, op);
  operands.make_offsets(op.documents);
  if (!operands.regrouped()) {
    operands.set(SdpaOperand::stats, op.lse);
    return operands.run(*choice.plan);
  }
  const float* stats = operands.make_of_rows(SdpaOperand::stats);
  operands.run(*choice.plan);
  operands.regroup_rows(op.lse.as<float>(), stats, true);
}

void run_plan(const AttentionBackward& op, const SdpaChoice& choice, const Tensor& room,
              Context& ctx, cudaStream_t stream) {
  const SdpaShape& shape = choice.shape;
  SdpaOperands operands(shape, room, stream);
  set_shared(operands, op);
  operands.set(SdpaOperand::d_o, op.d_o);
  operands.set(SdpaOperand::dq, op.dq);
  operands.set(SdpaOperand::one, kOne);
  operands.set(SdpaOperand::stats, op.lse);
  operands.make_offsets(op.documents);
  if (operands.regrouped()) {
    operands.regroup_rows(operands.make_of_rows(SdpaOperand::stats), op.lse.as<float>(), false);
  }
  operands.make_of_rows(SdpaOperand::delta);
  const std::int64_t elements = op.q.numel();
  if (!shape.deterministic) operands.make(SdpaOperand::dq_sum, 4 * elements);
  if (shape.ragged && shape.heads > shape.kv_heads) {
    operands.make(SdpaOperand::dk_heads, 2 * elements);
    operands.make(SdpaOperand::dv_heads, 2 * elements);
  }
  const auto gradient = [&](SdpaOperand operand, const Tensor& x) {
    if (!x.contiguous()) return Tensor(operands.make(operand, x.bytes()), x.dtype(), x.shape());
    operands.set(operand, x);
    return x;
  };
  const Tensor dk = gradient(SdpaOperand::dk, op.dk), dv = gradient(SdpaOperand::dv, op.dv);
  operands.run(*choice.plan);
  if (!op.dk.contiguous()) cuda_kernel(CopyRows{.y = op.dk, .x = dk}, ctx, stream);
  if (!op.dv.contiguous()) cuda_kernel(CopyRows{.y = op.dv, .x = dv}, ctx, stream);
}

}  // namespace hg
