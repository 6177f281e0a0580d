// A bug that is in the text of an asm statement alone: the C++ form next to it is right.
#include "cuda/ptx.h"
#include "cuda_sim/kernels/planted.h"

namespace hg::test {
namespace {

#if defined(__CUDACC__)
/// hg::multiply_add with two registers of a exchanged.
HG_DEVICE void multiply_add_swapped(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %6, %5, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
HG_DEVICE void multiply_add_swapped(float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  multiply_add(d, a, b);
}
#endif

__global__ void multiply_by_asm_kernel(float* c, const std::uint16_t* a, const std::uint16_t* b,
                                       bool swapped) {
  const unsigned g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
  const auto pair = [](std::uint16_t low, std::uint16_t high) {
    return static_cast<std::uint32_t>(low) | static_cast<std::uint32_t>(high) << 16;
  };
  std::uint32_t its_a[4], its_b[2];
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint16_t* from = a + (g + i % 2 * 8) * 16 + t + i / 2 * 8;
    its_a[i] = pair(from[0], from[1]);
  }
  for (unsigned i = 0; i < 2; ++i) {
    const std::uint16_t* from = b + (t + i * 8) * 8 + g;
    its_b[i] = pair(from[0], from[8]);
  }
  float sums[4] = {};
  if (swapped) {
    multiply_add_swapped(sums, its_a, its_b);
  } else {
    multiply_add(sums, its_a, its_b);
  }
  for (unsigned i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + t + i % 2] = sums[i];
}

}  // namespace

void multiply_by_asm(float* c, const std::uint16_t* a, const std::uint16_t* b, bool swapped) {
  launch(multiply_by_asm_kernel, dim3(1), dim3(32), 0, nullptr, c, a, b, swapped);
}

}  // namespace hg::test
