// The one place that looks at the device. An op is a struct of named operands with
//
//   static constexpr std::string_view name;   as it appears in traces and errors
//   void check() const;                       shapes and element types; throws hg::Error
//   Cost cost() const;                        work, from shapes alone
//   void cpu(Context&) const;                 the CPU body
//   void cuda(Context&) const;                the GPU body, where that is code of the host; most
//   ops
//                                             have a kernel in ops/cuda, found by the op's name
//
// Forward and backward of an op are two structs, siblings in one header. Conventions, held
// everywhere:
//  - gradients of activations are written; gradients of parameters are added to when `accumulate`
//    is set and overwritten otherwise, so that nothing is zero-filled first;
//  - an op allocates from ctx.scratch only, and releases it before it returns;
//  - reductions run in an order that depends on shapes alone: the same bits for any thread count.
// To add an op, see docs/adding-an-op.md.
#pragma once

#include "core/context.h"

namespace hg {

template <class Op>
concept OnCpu = requires(const Op& op, Context& ctx) {
  op.cpu(ctx);
};
template <class Op>
concept OnCuda = requires(const Op& op, Context& ctx) {
  op.cuda(ctx);
};
/// An op whose body takes scratch says how much, so that a meta run can size the arena.
template <class Op>
concept NeedsScratch = requires(const Op& op, Context& ctx) {
  op.scratch(ctx);
};

/// Checks the operands and runs the op on the context's device.
template <class Op>
void run(Context& ctx, const Op& op) {
  op.check();
  const TraceSpan span(ctx.trace, Op::name, op.cost());
  switch (ctx.device) {
    case Device::meta:
      if constexpr (NeedsScratch<Op>) {
        const ArenaScope scope(ctx.scratch);
        op.scratch(ctx);
      }
      return;
    case Device::cpu:
      if constexpr (OnCpu<Op>) return op.cpu(ctx);
      break;
    case Device::cuda:
      if constexpr (OnCuda<Op>) {
        op.cuda(ctx);
      } else {
        ctx.gpu->run(Op::name, &op, ctx);
      }
      if (ctx.trace != nullptr) ctx.gpu->synchronize();  // so that the time is this op's
      return;
  }
  fail("{} has no body for this device", Op::name);
}

}  // namespace hg
