#include "model/tensor_region.h"

namespace hg {

ConstTensor TensorRegion::enter(Context& ctx, ConstTensor x, Tensor& all, Keep keep) const {
  if (!sequence_) return x;
  const Shape shape = x.shape().with(0, x.dim(0) * group_.size);
  if (keep.make(ctx, Effort::cheap, all, "all tokens", x.dtype(), shape))
    run(ctx, AllGather{.y = all, .x = x, .group = group_, .label = "enter"});
  return all;
}

Tensor TensorRegion::room(Context& ctx, Tensor y) const {
  if (!sequence_ || !y) return y;
  return ctx.scratch.allocate("all tokens", y.dtype(), y.shape().with(0, y.dim(0) * group_.size));
}

void TensorRegion::leave(Context& ctx, Tensor part, Tensor y) const {
  if (group_.size == 1 || !y) return;
  if (sequence_) {
    run(ctx, ReduceScatter{.y = y, .x = part, .group = group_, .label = "leave"});
  } else {
    run(ctx, AllReduce{.x = y, .group = group_, .reduce = Reduce::sum, .label = "leave"});
  }
}

ConstTensor TensorRegion::backward_of_leave(Context& ctx, ConstTensor dy) const {
  if (!sequence_) return dy;
  const Tensor all =
      ctx.scratch.allocate("d all tokens", dy.dtype(), dy.shape().with(0, dy.dim(0) * group_.size));
  run(ctx, AllGather{.y = all, .x = dy, .group = group_, .label = "leave, backward"});
  return all;
}

}  // namespace hg
