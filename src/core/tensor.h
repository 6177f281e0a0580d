// Tensor views: an address, an element type, a shape and strides. They own nothing; arenas and the
// parameter store do.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "core/check.h"
#include "core/dtype.h"

namespace hg {

/// Up to four extents, outermost first.
class Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents)) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t numel() const;
  std::string to_string() const;  ///< "[128, 4, 64]"
  bool operator==(const Shape&) const = default;

  /// This shape with `axis` replaced by `outer` and `inner`, whose product it must be.
  Shape split(int axis, std::int64_t outer, std::int64_t inner) const;
  Shape with(int axis, std::int64_t extent) const;

 private:
  int rank_ = 0;
  std::array<std::int64_t, kMaxRank> extents_{};
};

/// Void is `void` for a tensor that an op writes, `const void` for one it only reads. A Tensor
/// converts to a ConstTensor, never back, so that an input cannot be passed as an output.
template <class Void>
class BasicTensor {
 public:
  template <class T>
  using Pointer = std::conditional_t<std::is_const_v<Void>, const T*, T*>;

  BasicTensor() = default;
  /// A contiguous tensor at `data`.
  BasicTensor(Void* data, DType dtype, Shape shape);
  BasicTensor(Void* data, DType dtype, Shape shape,
              std::array<std::int64_t, Shape::kMaxRank> strides)
      : data_(data), dtype_(dtype), shape_(shape), strides_(strides) {}

  operator BasicTensor<const void>() const { return {data_, dtype_, shape_, strides_}; }

  Void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  std::int64_t dim(int axis) const { return shape_[axis]; }
  /// Distance in elements between neighbours along `axis`.
  std::int64_t stride(int axis) const { return strides_[static_cast<std::size_t>(axis)]; }
  std::int64_t numel() const { return shape_.numel(); }
  std::int64_t bytes() const { return numel() * size_of(dtype_); }
  explicit operator bool() const { return data_ != nullptr; }
  bool contiguous() const;

  /// The address as elements of type T, which must be the tensor's.
  template <class T>
  Pointer<T> as() const {
    HG_CHECK(dtype_ == dtype_of<T>, "tensor of {} read as {}", name_of(dtype_),
             name_of(dtype_of<T>));
    return static_cast<Pointer<T>>(data_);
  }

  /// Elements [begin, end) along `axis`.
  BasicTensor slice(int axis, std::int64_t begin, std::int64_t end) const;
  BasicTensor rows(std::int64_t begin, std::int64_t end) const { return slice(0, begin, end); }
  /// The same elements with `axis` seen as `outer` x `inner`.
  BasicTensor split(int axis, std::int64_t outer, std::int64_t inner) const;
  /// The same elements of a contiguous tensor in another shape.
  BasicTensor view(Shape shape) const;
  /// Axes of one element seen as long as `shape` says: their stride is 0.
  BasicTensor expand(const Shape& shape) const;

 private:
  Void* data_ = nullptr;
  DType dtype_ = DType::f32;
  Shape shape_;
  std::array<std::int64_t, Shape::kMaxRank> strides_{};
};

using Tensor = BasicTensor<void>;
using ConstTensor = BasicTensor<const void>;

extern template class BasicTensor<void>;
extern template class BasicTensor<const void>;

/// Throws unless `tensor` has this shape and element type; `name` is the operand's.
void check_tensor(std::string_view op, const char* name, const ConstTensor& tensor,
                  const Shape& shape, DType dtype);
/// The same, and throws unless the elements lie end to end in memory.
void check_contiguous(std::string_view op, const char* name, const ConstTensor& tensor,
                      const Shape& shape, DType dtype);
/// The same, for a slice of a larger tensor: only the last axis must lie end to end.
void check_slice(std::string_view op, const char* name, const ConstTensor& tensor,
                 const Shape& shape, DType dtype);

}  // namespace hg
