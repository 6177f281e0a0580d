#include "ops/cached_attention.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "ops/cpu/isa.h"

namespace hg {

void CachedAttention::check() const {
  const std::int64_t n = q.dim(0), kv = q.dim(1), d = q.dim(3);
  const DType dtype = q.dtype();
  check_tensor(name, "o", o, q.shape(), dtype);
  check_tensor(name, "k", k, {k.dim(0), kv, 1, d}, dtype);
  check_tensor(name, "v", v, k.shape(), dtype);
  HG_CHECK(n <= k.dim(0), "cached_attention: {} queries over {} cached positions", n, k.dim(0));
  HG_CHECK(sink || !sinks, "cached_attention: 'sinks' are given, but no sink is asked for");
  if (sinks) check_contiguous(name, "sinks", sinks, {kv, q.dim(2)}, dtype);
}

Cost CachedAttention::cost() const {
  const double products = 2.0 * static_cast<double>(q.numel()) * static_cast<double>(k.dim(0));
  return {.flops = 2 * products, .bytes = static_cast<double>(k.bytes() + v.bytes())};
}

Tensor CachedAttention::scratch(Context& ctx) const {
  if (ctx.scratch_device() == Device::cuda) {
    const std::int64_t rows = q.dim(0) * q.dim(1) * q.dim(2), most = k.dim(0) / kLeastKeys;
    const std::int64_t pieces = std::clamp(kRowPieces / std::max(rows, std::int64_t{1}),
                                           std::int64_t{1}, std::max(most, std::int64_t{1}));
    return ctx.scratch.allocate("pieces", DType::f32, {pieces, rows, q.dim(3) + 2});
  }
  return ctx.scratch.allocate("probabilities", DType::f32,
                              {q.dim(0), q.dim(1), q.dim(2), k.dim(0)});
}

void CachedAttention::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void CopyRows::check() const {
  check_slice(name, "y", y, x.shape(), x.dtype());
  check_slice(name, "x", x, x.shape(), x.dtype());
}

Cost CopyRows::cost() const { return {.flops = 0, .bytes = 2.0 * static_cast<double>(y.bytes())}; }

void CopyRows::cpu(Context&) const {
  const std::int64_t rows = x.dim(1) * x.dim(2);
  const auto bytes = x.dim(3) * size_of(x.dtype());
  parallel_ranges(x.dim(0), 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * rows; i < end * rows; ++i) {
      const std::int64_t t = i / rows, a = i / x.dim(2) % x.dim(1), b = i % x.dim(2);
      const auto at = [&](const auto& tensor) {
        return (t * tensor.stride(0) + a * tensor.stride(1) + b * tensor.stride(2)) *
               size_of(x.dtype());
      };
      std::memcpy(static_cast<char*>(y.data()) + at(y), static_cast<const char*>(x.data()) + at(x),
                  static_cast<std::size_t>(bytes));
    }
  });
}

}  // namespace hg
