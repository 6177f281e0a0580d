#include "core/tensor.h"

namespace hg {

Shape::Shape(std::span<const std::int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  HG_CHECK(rank_ <= kMaxRank, "a shape of {} axes; at most {} are supported", rank_, kMaxRank);
  std::size_t axis = 0;
  for (const std::int64_t extent : extents) extents_[axis++] = extent;
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (int axis = 0; axis < rank_; ++axis) n *= (*this)[axis];
  return n;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string((*this)[axis]);
  }
  return text + "]";
}

Shape Shape::split(int axis, std::int64_t outer, std::int64_t inner) const {
  HG_CHECK(rank_ < kMaxRank && (*this)[axis] == outer * inner, "axis {} of {} is not {} x {}", axis,
           to_string(), outer, inner);
  Shape result;
  result.rank_ = rank_ + 1;
  std::size_t to = 0;
  for (int from = 0; from < rank_; ++from) {
    if (from == axis) {
      result.extents_[to++] = outer;
      result.extents_[to++] = inner;
    } else {
      result.extents_[to++] = (*this)[from];
    }
  }
  return result;
}

Shape Shape::with(int axis, std::int64_t extent) const {
  Shape result = *this;
  result.extents_[static_cast<std::size_t>(axis)] = extent;
  return result;
}

template <class Void>
BasicTensor<Void>::BasicTensor(Void* data, DType dtype, Shape shape)
    : data_(data), dtype_(dtype), shape_(shape) {
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides_[static_cast<std::size_t>(axis)] = stride;
    stride *= shape[axis];
  }
}

template <class Void>
bool BasicTensor<Void>::contiguous() const {
  std::int64_t expected = 1;
  for (int axis = rank() - 1; axis >= 0; --axis) {
    if (dim(axis) != 1 && stride(axis) != expected) return false;
    expected *= dim(axis);
  }
  return true;
}

template <class Void>
BasicTensor<Void> BasicTensor<Void>::slice(int axis, std::int64_t begin, std::int64_t end) const {
  HG_CHECK(0 <= begin && begin <= end && end <= dim(axis), "slice [{}, {}) of axis {} of {}", begin,
           end, axis, shape_.to_string());
  using Byte = std::conditional_t<std::is_const_v<Void>, const char, char>;
  auto* address = static_cast<Byte*>(data_) + begin * stride(axis) * size_of(dtype_);
  return {address, dtype_, shape_.with(axis, end - begin), strides_};
}

template <class Void>
BasicTensor<Void> BasicTensor<Void>::split(int axis, std::int64_t outer, std::int64_t inner) const {
  const Shape shape = shape_.split(axis, outer, inner);
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  for (int to = 0; to < shape.rank(); ++to) {
    const int from = to <= axis ? to : to - 1;
    strides[static_cast<std::size_t>(to)] = to == axis ? stride(axis) * inner : stride(from);
  }
  return {data_, dtype_, shape, strides};
}

template <class Void>
BasicTensor<Void> BasicTensor<Void>::view(Shape shape) const {
  HG_CHECK(contiguous() && shape.numel() == numel(), "{} seen as {}", shape_.to_string(),
           shape.to_string());
  return {data_, dtype_, shape};
}

template <class Void>
BasicTensor<Void> BasicTensor<Void>::expand(const Shape& shape) const {
  HG_CHECK(rank() == shape.rank(), "{} expanded to {}", shape_.to_string(), shape.to_string());
  std::array<std::int64_t, Shape::kMaxRank> strides = strides_;
  for (int axis = 0; axis < rank(); ++axis) {
    HG_CHECK(dim(axis) == shape[axis] || dim(axis) == 1, "{} expanded to {}", shape_.to_string(),
             shape.to_string());
    if (dim(axis) != shape[axis]) strides[static_cast<std::size_t>(axis)] = 0;
  }
  return {data_, dtype_, shape, strides};
}

template class BasicTensor<void>;
template class BasicTensor<const void>;

void check_tensor(std::string_view op, const char* name, const ConstTensor& tensor,
                  const Shape& shape, DType dtype) {
  HG_CHECK(tensor, "{}: operand '{}' is missing, expected {} {}", op, name, name_of(dtype),
           shape.to_string());
  HG_CHECK(tensor.shape() == shape && tensor.dtype() == dtype,
           "{}: operand '{}' is {} {}, expected {} {}", op, name, name_of(tensor.dtype()),
           tensor.shape().to_string(), name_of(dtype), shape.to_string());
}

void check_contiguous(std::string_view op, const char* name, const ConstTensor& tensor,
                      const Shape& shape, DType dtype) {
  check_tensor(op, name, tensor, shape, dtype);
  HG_CHECK(tensor.contiguous(), "{}: operand '{}' {} is a slice, expected a contiguous tensor", op,
           name, shape.to_string());
}

void check_slice(std::string_view op, const char* name, const ConstTensor& tensor,
                 const Shape& shape, DType dtype) {
  check_tensor(op, name, tensor, shape, dtype);
  const int last = shape.rank() - 1;
  HG_CHECK(last < 0 || shape[last] == 1 || tensor.stride(last) == 1,
           "{}: the last axis of operand '{}' {} has stride {}, expected 1", op, name,
           shape.to_string(), tensor.stride(last));
}

}  // namespace hg
