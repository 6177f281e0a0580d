// Slices of larger tensors in the memory of a simulated device.
#pragma once

#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/tolerance.h"

namespace hg::test {

/// All that lies between a slice's first and last element, as a vector.
template <class Void>
BasicTensor<Void> span_of(const BasicTensor<Void>& slice) {
  if (slice.numel() == 0) return {slice.data(), slice.dtype(), {0}};
  std::int64_t last = 0;
  for (int axis = 0; axis < slice.rank(); ++axis)
    last += (slice.dim(axis) - 1) * slice.stride(axis);
  return {slice.data(), slice.dtype(), {last + 1}};
}

/// The same slice on the device, of a copy of what lies between its elements.
inline Tensor copy_slice(DeviceTensors& device, const ConstTensor& slice, bool shifted = false) {
  if (!slice) return {};
  std::array<std::int64_t, Shape::kMaxRank> strides{};
  for (int axis = 0; axis < slice.rank(); ++axis)
    strides[static_cast<std::size_t>(axis)] = slice.stride(axis);
  return {device.copy(span_of(slice), shifted).data(), slice.dtype(), slice.shape(), strides};
}

/// Expects the device's values, and what lies between them, to be those of the host: as they are
/// computed in f32, and rounded.
inline void expect_same(const ConstTensor& on_device, const ConstTensor& on_host,
                        const std::string& what) {
  if (!on_host) return;
  Tensors memory;
  EXPECT_LT(relative_error(to_host(span_of(on_device), memory), span_of(on_host)),
            rounding(on_host.dtype()))
      << what << " " << on_host.shape().to_string() << " " << name_of(on_host.dtype());
}
inline void expect_same_bits(const ConstTensor& on_device, const ConstTensor& on_host,
                             const std::string& what) {
  if (!on_host) return;
  Tensors memory;
  EXPECT_TRUE(same_bits(to_host(span_of(on_device), memory), span_of(on_host)))
      << what << " " << on_host.shape().to_string() << " " << name_of(on_host.dtype());
}

}  // namespace hg::test
