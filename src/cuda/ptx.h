// What CUDA C++ has no name for, by the instructions of PTX: asynchronous copies to shared memory
// (sm_80), loads of matrix fragments and products of tensor cores, FP8 (sm_89), powers of two. See
// the PTX manual, "Warp-level matrix instructions", for which lane holds what.
#pragma once

#include "core/fp8.h"
#include "cuda/device.h"

namespace hg {

#if defined(__CUDACC__)

HG_DEVICE std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Starts a copy of 16 bytes to shared memory; zeroes instead if not `valid`. Both addresses are
/// 16-byte aligned, and `global` may be read only if valid.
HG_DEVICE void copy_async_16(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}

/// Makes a group of the copies that the calling thread started since the last.
HG_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `pending` of the thread's groups are under way. Other threads see the data
/// only after a barrier.
template <int pending>
HG_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Four 8x8 matrices of 16-bit elements: lanes 8i to 8i + 7 give the rows of matrix i, 16-byte
/// aligned in shared memory; lane 4g + t gets in r[i] the elements 2t, 2t + 1 of row g.
HG_DEVICE void load_matrices(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// The same of the transposed matrices: elements 2t, 2t + 1 of column g.
HG_DEVICE void load_transposed_matrices(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

/// d += a b with a 16x16 and b 16x8 of bf16, d 16x8 of f32.
HG_DEVICE void multiply_add(float (&d)[4], const std::uint32_t (&a)[4],
                            const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// 2^x to 2 units in the last place; 0 where that is less than 2^-126.
HG_DEVICE float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Two values in FP8, e4m3 or e5m2, the first in the lower byte: to nearest even, and saturated.
template <class Q>
HG_DEVICE std::uint32_t fp8_pair(float low, float high) {
#if __CUDA_ARCH__ >= 890
  std::uint16_t pair;
  if constexpr (dtype_of<Q> == DType::e4m3) {
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  }
  return pair;
#else
  return Q(low).bits | static_cast<std::uint32_t>(Q(high).bits) << 8;
#endif
}

#else

using cuda_sim::Where;

HG_DEVICE void copy_async_16(void* shared, const void* global, bool valid = true,
                             Where where = Where::current()) {
  cuda_sim::copy_async(shared, global, 16, valid ? 16 : 0, where);
}
HG_DEVICE void commit_copies() { cuda_sim::commit_copies(); }
template <int pending>
HG_DEVICE void wait_for_copies() {
  cuda_sim::wait_for_copies(pending);
}

/// The lane's own row is read here, where sanitizers and the race check see it.
HG_DEVICE void read_row(const void* row, const Where& where) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    cuda_sim::fail("ldmatrix: the row's address is not a multiple of 16", where);
  const auto* words = static_cast<const volatile std::uint32_t*>(row);
  for (int i = 0; i < 4; ++i) static_cast<void>(words[i]);
}
HG_DEVICE void load_matrices(std::uint32_t (&r)[4], const void* row,
                             Where where = Where::current()) {
  read_row(row, where);
  cuda_sim::whole_warp_operation("ldmatrix", &row, r, cuda_sim::load_matrices, where);
}
HG_DEVICE void load_transposed_matrices(std::uint32_t (&r)[4], const void* row,
                                        Where where = Where::current()) {
  read_row(row, where);
  cuda_sim::whole_warp_operation("ldmatrix.trans", &row, r, cuda_sim::load_transposed_matrices,
                                 where);
}
HG_DEVICE void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                            Where where = Where::current()) {
  const cuda_sim::MmaOperands operands{
      {d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  cuda_sim::whole_warp_operation("mma", &operands, d, cuda_sim::multiply_matrices, where);
}

template <class Q>
HG_DEVICE std::uint32_t fp8_pair(float low, float high) {
  return Q(low).bits | static_cast<std::uint32_t>(Q(high).bits) << 8;
}

HG_DEVICE float fast_exp2(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126F ? 0 : y;
}

#endif

}  // namespace hg
