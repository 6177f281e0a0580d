// Choosing between the instruction sets that ops/cpu/kernels is compiled for. A kernel file defines
//
//   template <> void cpu_kernel<kIsa>(const RmsNormForward& op, Context& ctx) { ... }
//
// and is compiled once per instruction set with its flags and kIsa; the op's .cpp calls
// dispatch_cpu.
#pragma once

#include "core/context.h"

namespace hg {

/// The CPU body of `op` for one instruction set.
template <Isa isa, class Op>
void cpu_kernel(const Op& op, Context& ctx);

/// Runs the body for the instruction set that this process uses.
template <class Op>
void dispatch_cpu(const Op& op, Context& ctx) {
  switch (ctx.cpu.isa) {
    case Isa::avx2:
      return cpu_kernel<Isa::avx2>(op, ctx);
    case Isa::avx512:
      return cpu_kernel<Isa::avx512>(op, ctx);
  }
}

#ifdef HEADGATE_ISA
inline constexpr Isa kIsa = Isa::HEADGATE_ISA;
#endif

}  // namespace hg
