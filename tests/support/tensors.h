// Tensors that own their memory, filled from named random streams, and a context to run ops in.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "core/context.h"
#include "core/parallel.h"
#include "core/random.h"
#include "core/tensor.h"

namespace hg::test {

/// Memory for the tensors of one test; they live as long as this does.
class Tensors {
 public:
  /// Normal values times `scale` plus `offset`, from the stream `name`.
  Tensor normal(std::string_view name, const Shape& shape, DType dtype = DType::f32,
                float scale = 1, float offset = 0);
  /// NaN everywhere, so that an element nobody writes shows.
  Tensor empty(const Shape& shape, DType dtype = DType::f32);
  Tensor zeros(const Shape& shape, DType dtype = DType::f32);
  /// The same values, in another element type.
  Tensor copy(const ConstTensor& from, DType dtype);
  Tensor integers(const std::vector<std::int32_t>& values);

 private:
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

/// Element `i` of a contiguous tensor of f32, bf16 or FP8.
float get(const ConstTensor& tensor, std::int64_t i);
void set(const Tensor& tensor, std::int64_t i, float value);
/// The elements of a contiguous i32 tensor.
std::vector<std::int32_t> integers_of(const ConstTensor& tensor);

/// Throws away what an arena measured and gives it room for any test: 64 MB each.
std::unique_ptr<Context> cpu_context(Isa isa);
/// The instruction sets that this machine can run, to parametrise tests with.
std::vector<Isa> isas();

}  // namespace hg::test
