// Tensors of any element type, filled and checked by a function of the index.
#pragma once

#include <functional>
#include <vector>

#include "dist/comm.h"

namespace hg::test {

/// A tensor of doubles' values in memory of its own.
class Values {
 public:
  Values(DType dtype, Shape shape, const std::function<double(std::int64_t)>& value)
      : memory_(static_cast<std::size_t>(shape.numel() * size_of(dtype)) + 1),
        tensor_(memory_.data(), dtype, shape) {
    for (std::int64_t i = 0; i < tensor_.numel(); ++i) {
      switch (dtype) {
        case DType::f32:
          tensor_.as<float>()[i] = static_cast<float>(value(i));
          break;
        case DType::bf16:
          tensor_.as<bf16>()[i] = bf16(static_cast<float>(value(i)));
          break;
        case DType::i32:
          tensor_.as<std::int32_t>()[i] = static_cast<std::int32_t>(value(i));
          break;
        default:
          fail("no values of {}", name_of(dtype));
      }
    }
  }
  operator Tensor() const { return tensor_; }
  operator ConstTensor() const { return tensor_; }
  const Tensor* operator->() const { return &tensor_; }

  double get(std::int64_t i) const {
    switch (tensor_.dtype()) {
      case DType::f32:
        return static_cast<double>(tensor_.as<float>()[i]);
      case DType::bf16:
        return static_cast<double>(static_cast<float>(tensor_.as<bf16>()[i]));
      case DType::i32:
        return tensor_.as<std::int32_t>()[i];
      default:
        fail("no values of {}", name_of(tensor_.dtype()));
    }
  }
  /// Throws at the first element that is not `value(i)`.
  void expect(const Comm& comm, const std::function<double(std::int64_t)>& value) const {
    for (std::int64_t i = 0; i < tensor_.numel(); ++i) {
      HG_CHECK(get(i) == value(i), "rank {} of {}: element {} of {} {} is {}, expected {}",
               comm.rank(), comm.size(), i, name_of(tensor_.dtype()), tensor_.shape().to_string(),
               get(i), value(i));
    }
  }

 private:
  std::vector<std::byte> memory_;
  Tensor tensor_;
};

}  // namespace hg::test
