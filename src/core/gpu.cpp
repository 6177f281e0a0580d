#include "core/gpu.h"

#include <cstring>

#include "core/context.h"

namespace hg {
namespace {

std::size_t bytes_of(const ConstTensor& tensor) {
  HG_CHECK(tensor.contiguous(), "only contiguous tensors come from a GPU or go to it; this is {}",
           tensor.shape().to_string());
  return static_cast<std::size_t>(tensor.bytes());
}

}  // namespace

bool on_gpu(const Context& ctx) { return ctx.device == Device::cuda; }

void store_values(const Context& ctx, const Tensor& to, const void* from) {
  const std::size_t bytes = bytes_of(to);
  if (bytes == 0) return;
  on_gpu(ctx) ? ctx.gpu->upload(to.data(), from, bytes)
              : static_cast<void>(std::memcpy(to.data(), from, bytes));
}

void copy_values(const Context& ctx, const Tensor& to, const ConstTensor& from) {
  HG_CHECK(bytes_of(to) == bytes_of(from), "{} bytes cannot become {}", from.bytes(), to.bytes());
  if (to.bytes() == 0) return;
  on_gpu(ctx) ? ctx.gpu->copy(to.data(), from.data(), bytes_of(to))
              : static_cast<void>(std::memcpy(to.data(), from.data(), bytes_of(to)));
}

void load_values(const Context& ctx, void* to, const ConstTensor& from) {
  const std::size_t bytes = bytes_of(from);
  if (bytes == 0) return;
  on_gpu(ctx) ? ctx.gpu->download(to, from.data(), bytes)
              : static_cast<void>(std::memcpy(to, from.data(), bytes));
}

}  // namespace hg
