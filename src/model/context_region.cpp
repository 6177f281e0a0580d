#include "model/context_region.h"

#include "ops/cached_attention.h"

namespace hg {
namespace {

/// The two halves of the rows.
template <class AnyTensor>
std::array<AnyTensor, 2> halves(const AnyTensor& x) {
  const std::int64_t middle = x.dim(0) / 2;
  return {x.rows(0, middle), x.rows(middle, x.dim(0))};
}

/// [T, 2 KV, 1, D]: keys and values travel together.
Shape both(const ConstTensor& k, std::int64_t ranks) {
  return k.shape().with(0, ranks * k.dim(0)).with(1, 2 * k.dim(1));
}
template <class AnyTensor>
KeysAndValues<AnyTensor> apart(const AnyTensor& all) {
  const std::int64_t kv = all.dim(1) / 2;
  return {all.slice(1, 0, kv), all.slice(1, kv, 2 * kv)};
}

void copy_halves(Context& ctx, const std::array<Tensor, 2>& y, const ConstTensor& x) {
  const auto from = halves(x);
  for (std::size_t i = 0; i < 2; ++i) run(ctx, CopyRows{.y = y[i], .x = from[i]});
}

}  // namespace

std::array<Tensor, 2> ContextRegion::own(const Tensor& all) const {
  const auto [front, back] = halves(all);
  return {part_of(front, ranks_[0]), part_of(back, ranks_[1])};
}

void ContextRegion::gather(Context& ctx, const Tensor& all, std::string_view label) const {
  const auto parts = own(all), wholes = halves(all);
  for (std::size_t i = 0; i < 2; ++i)
    run(ctx, AllGather{.y = wholes[i], .x = parts[i], .group = ranks_[i], .label = label});
}

void ContextRegion::sum(Context& ctx, const Tensor& all, std::string_view label) const {
  const auto parts = own(all), wholes = halves(all);
  for (std::size_t i = 0; i < 2; ++i)
    run(ctx, ReduceScatter{.y = parts[i], .x = wholes[i], .group = ranks_[i], .label = label});
}

void ContextRegion::reduce(Context& ctx, const Tensor& x, Reduce reduce,
                           std::string_view label) const {
  if (alone()) return;
  run(ctx, AllReduce{.x = x, .group = ranks_[0], .reduce = reduce, .label = label});
}

void ContextRegion::gather_copy(Context& ctx, const Tensor& all, const ConstTensor& own_rows,
                                std::string_view label) const {
  copy_halves(ctx, own(all), own_rows);
  gather(ctx, all, label);
}

KeysAndValues<ConstTensor> ContextRegion::enter(Context& ctx, KeysAndValues<ConstTensor> own,
                                                Tensor& all, Keep keep) const {
  if (alone()) return own;
  if (keep.make(ctx, Effort::cheap, all, "all keys and values", own.k.dtype(),
                both(own.k, size()))) {
    const auto [front, back] = this->own(all);
    const auto [k_front, v_front] = apart(front);
    const auto [k_back, v_back] = apart(back);
    copy_halves(ctx, {k_front, k_back}, own.k);
    copy_halves(ctx, {v_front, v_back}, own.v);
    gather(ctx, all, "keys and values");
  }
  return entered(own, all);
}

KeysAndValues<ConstTensor> ContextRegion::entered(KeysAndValues<ConstTensor> own,
                                                  const Tensor& all) const {
  return alone() ? own : apart(ConstTensor(all));
}

KeysAndValues<Tensor> ContextRegion::room(Context& ctx, KeysAndValues<Tensor> d_own) const {
  if (alone()) return d_own;
  return apart(
      ctx.scratch.allocate("d all keys and values", d_own.k.dtype(), both(d_own.k, size())));
}

void ContextRegion::backward_of_enter(Context& ctx, KeysAndValues<Tensor> d_all,
                                      KeysAndValues<Tensor> d_own) const {
  if (alone()) return;
  const Tensor all(d_all.k.data(), d_all.k.dtype(), both(d_all.k, 1));
  sum(ctx, all, "d keys and values");
  const auto [front, back] = own(all);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto [k, v] = apart(i == 0 ? front : back);
    run(ctx, CopyRows{.y = halves(d_own.k)[i], .x = k});
    run(ctx, CopyRows{.y = halves(d_own.v)[i], .x = v});
  }
}

}  // namespace hg
