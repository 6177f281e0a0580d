#include "support/tensors.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/fp8.h"

namespace hg::test {

float get(const ConstTensor& tensor, std::int64_t i) {
  if (tensor.dtype() == DType::e4m3) return static_cast<float>(tensor.as<e4m3>()[i]);
  if (tensor.dtype() == DType::e5m2) return static_cast<float>(tensor.as<e5m2>()[i]);
  return tensor.dtype() == DType::f32 ? tensor.as<float>()[i]
                                      : static_cast<float>(tensor.as<bf16>()[i]);
}

void set(const Tensor& tensor, std::int64_t i, float value) {
  if (tensor.dtype() == DType::f32) {
    tensor.as<float>()[i] = value;
  } else if (tensor.dtype() == DType::e4m3) {
    tensor.as<e4m3>()[i] = e4m3(value);
  } else if (tensor.dtype() == DType::e5m2) {
    tensor.as<e5m2>()[i] = e5m2(value);
  } else {
    tensor.as<bf16>()[i] = bf16(value);
  }
}

Tensor Tensors::empty(const Shape& shape, DType dtype) {
  const auto bytes = static_cast<std::size_t>(shape.numel() * size_of(dtype));
  memory_.push_back(std::make_unique<std::byte[]>(bytes));
  const Tensor tensor(memory_.back().get(), dtype, shape);
  if (dtype == DType::i32) return tensor;
  for (std::int64_t i = 0; i < tensor.numel(); ++i)
    set(tensor, i, std::numeric_limits<float>::quiet_NaN());
  return tensor;
}

Tensor Tensors::zeros(const Shape& shape, DType dtype) {
  const Tensor tensor = empty(shape, dtype);
  std::memset(tensor.data(), 0, static_cast<std::size_t>(tensor.bytes()));
  return tensor;
}

Tensor Tensors::normal(std::string_view name, const Shape& shape, DType dtype, float scale,
                       float offset) {
  const Tensor tensor = empty(shape, dtype);
  const RandomStream stream(17, name);
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    set(tensor, i, stream.normal(static_cast<std::uint64_t>(i)) * scale + offset);
  }
  return tensor;
}

Tensor Tensors::copy(const ConstTensor& from, DType dtype) {
  const Tensor tensor = empty(from.shape(), dtype);
  for (std::int64_t i = 0; i < from.numel(); ++i) set(tensor, i, get(from, i));
  return tensor;
}

Tensor Tensors::integers(const std::vector<std::int32_t>& values) {
  const Tensor tensor = empty({static_cast<std::int64_t>(values.size())}, DType::i32);
  std::ranges::copy(values, tensor.as<std::int32_t>());
  return tensor;
}

std::vector<std::int32_t> integers_of(const ConstTensor& tensor) {
  const auto* values = tensor.as<std::int32_t>();
  return {values, values + tensor.numel()};
}

std::unique_ptr<Context> cpu_context(Isa isa) {
  auto ctx = std::make_unique<Context>();
  ctx->cpu = detect_cpu();
  ctx->cpu.isa = isa;
  if (isa == Isa::avx2) ctx->cpu.amx_bf16 = ctx->cpu.avx512_bf16 = false;
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  ctx->activations.reserve(kBytes);
  ctx->scratch.reserve(kBytes);
  return ctx;
}

std::vector<Isa> isas() {
  std::vector<Isa> result{Isa::avx2};
  if (detect_cpu().isa == Isa::avx512) result.push_back(Isa::avx512);
  return result;
}

}  // namespace hg::test
