// CUDA body of CopyRows (ops/cached_attention.h): bytes, whatever they mean, so that all element
// types share two kernels. A thread for every 16 bytes of a head, or for every 2.
#include "ops/cached_attention.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

/// 16 bytes at once.
struct alignas(16) Chunk {
  std::uint32_t words[4];
};

template <class Unit>
__global__ void __launch_bounds__(kCoverThreads)
    copy_heads(Heads<Unit> y, Heads<const Unit> x, HeadCount heads, int units) {
  const unsigned head = cover_row();
  const int i = cover_column();
  if (head >= heads.all || i >= units) return;
  y[heads[head]][i] = x[heads[head]][i];
}

/// The heads as rows of `Unit`, whose size divides every distance.
template <class Unit, class Void>
auto heads_in_units(const BasicTensor<Void>& heads) {
  using Pointer = std::conditional_t<std::is_const_v<Void>, const Unit*, Unit*>;
  const auto units = [&](int axis) {
    return heads.stride(axis) * size_of(heads.dtype()) / static_cast<std::int64_t>(sizeof(Unit));
  };
  return Heads<std::remove_pointer_t<Pointer>>{static_cast<Pointer>(heads.data()), units(0),
                                               units(1), units(2)};
}

template <class Unit>
void copy(const CopyRows& op, cudaStream_t stream) {
  const std::int64_t units =
      op.x.dim(3) * size_of(op.x.dtype()) / static_cast<std::int64_t>(sizeof(Unit));
  const HeadCount heads = heads_in(op.x.shape());
  const Cover cover = cover_all(heads.all, units);
  launch(copy_heads<Unit>, cover.grid, cover.block, 0, stream, heads_in_units<Unit>(op.y),
         heads_in_units<Unit>(op.x), heads, static_cast<int>(units));
}

}  // namespace

template <>
void cuda_kernel(const CopyRows& op, Context&, cudaStream_t stream) {
  if (op.x.numel() == 0) return;
  wide({op.y, op.x}) ? copy<Chunk>(op, stream) : copy<std::uint16_t>(op, stream);
}

}  // namespace hg
