// Loads and stores of several neighbouring elements at once, as f32; sums over warps and blocks.
#pragma once

#include "core/tensor.h"
#include "cuda/device.h"

namespace hg {

/// The element type as device code knows it.
template <class T>
struct OnDevice {
  using Type = T;
};
template <>
struct OnDevice<bf16> {
  using Type = __nv_bfloat16;
};
template <class T>
using DeviceType = typename OnDevice<T>::Type;

HG_DEVICE float to_f32(float x) { return x; }
HG_DEVICE float to_f32(__nv_bfloat16 x) { return __bfloat162float(x); }
template <class T>
HG_DEVICE T from_f32(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else {
    return __float2bfloat16(x);
  }
}

/// `n` elements that are read and written by one instruction for every 16 bytes.
template <class T, int n>
struct alignas(sizeof(T) * n < 16 ? sizeof(T) * n : 16) Elements {
  T values[n];

  HG_DEVICE float operator[](int i) const { return to_f32(values[i]); }
  HG_DEVICE void set(int i, float x) { values[i] = from_f32<T>(x); }
};

/// Vector `i` of those that begin at `p`.
template <int n, class T>
HG_DEVICE Elements<T, n> load_vector(const T* p, std::int64_t i) {
  return reinterpret_cast<const Elements<T, n>*>(p)[i];
}
template <class T, int n>
HG_DEVICE void store_vector(T* p, std::int64_t i, const Elements<T, n>& vector) {
  reinterpret_cast<Elements<T, n>*>(p)[i] = vector;
}

/// The sum over the warp's lanes, in all of them.
template <class T>
HG_DEVICE T warp_sum(T x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffff, x, lanes);
  return x;
}

/// The sum over threads of equal threadIdx.y, in all of them. Their number is a multiple of 32;
/// `partial` has an element for every warp of the block, and may be used again after the next
/// __syncthreads.
template <class T>
HG_DEVICE T row_sum(T x, T* partial) {
  const unsigned warps = blockDim.x / 32, first = threadIdx.y * warps;
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) partial[first + threadIdx.x / 32] = x;
  __syncthreads();
  T sum = partial[first];
  for (unsigned i = 1; i < warps; ++i) sum += partial[first + i];
  return sum;
}

/// The same for the largest.
template <class T>
HG_DEVICE T row_max(T x, T* partial) {
  const unsigned warps = blockDim.x / 32, first = threadIdx.y * warps;
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const T other = __shfl_xor_sync(0xffffffff, x, lanes);
    x = x < other ? other : x;
  }
  if (threadIdx.x % 32 == 0) partial[first + threadIdx.x / 32] = x;
  __syncthreads();
  T largest = partial[first];
  for (unsigned i = 1; i < warps; ++i)
    largest = largest < partial[first + i] ? partial[first + i] : largest;
  return largest;
}

/// Elements that fill 16 bytes.
template <class T>
inline constexpr int kWidest = 16 / static_cast<int>(sizeof(T));

/// Whether a pointer allows 16 bytes at once; true for one that is absent.
inline bool aligned(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0;
}

/// Whether the last axes of all tensors, as they lie in memory, consist of 16 bytes at a time.
inline bool wide(std::initializer_list<ConstTensor> tensors) {
  for (const ConstTensor& tensor : tensors) {
    if (!tensor) continue;
    const std::int64_t n = 16 / size_of(tensor.dtype());
    const int last = tensor.rank() - 1;
    bool fits = aligned(tensor.data()) && tensor.dim(last) % n == 0;
    for (int axis = 0; axis < last; ++axis) fits = fits && tensor.stride(axis) % n == 0;
    if (!fits) return false;
  }
  return true;
}

/// The address of a tensor's elements, of which it has T.
template <class T>
DeviceType<T>* device_pointer(const Tensor& tensor) {
  return reinterpret_cast<DeviceType<T>*>(tensor.as<T>());
}
template <class T>
const DeviceType<T>* device_pointer(const ConstTensor& tensor) {
  return tensor ? reinterpret_cast<const DeviceType<T>*>(tensor.as<T>()) : nullptr;
}

/// Calls fn.operator()<T, n>() with T = float or bf16, n = kWidest<T> or 1.
template <class Fn>
void for_vectors(DType dtype, bool wide, Fn&& fn) {
  if (dtype == DType::f32) {
    wide ? fn.template operator()<float, kWidest<float>>() : fn.template operator()<float, 1>();
  } else {
    wide ? fn.template operator()<bf16, kWidest<bf16>>() : fn.template operator()<bf16, 1>();
  }
}

}  // namespace hg
