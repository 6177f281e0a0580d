// Tensors in the memory of a simulated device, copied from those of the host and back.
#pragma once

#include "core/tensor.h"
#include "cuda_sim/simulation.h"
#include "support/staged_comm.h"
#include "support/tensors.h"

namespace hg::test {

class DeviceTensors {
 public:
  /// NaN everywhere.
  Tensor empty(const Shape& shape, DType dtype = DType::f32) {
    memory_.emplace_back(shape.numel() * size_of(dtype));
    return {memory_.back().data(), dtype, shape};
  }
  /// One element further than an allocation begins, so that nothing is aligned.
  Tensor copy(const ConstTensor& host, bool shifted = false) {
    const std::int64_t shift = shifted ? size_of(host.dtype()) : 0;
    memory_.emplace_back(host.bytes() + shift);
    const Tensor result(memory_.back().data() + shift, host.dtype(), host.shape());
    expect_cuda(cudaMemcpy(result.data(), host.data(), static_cast<std::size_t>(host.bytes()),
                           cudaMemcpyHostToDevice));
    return result;
  }

 private:
  std::vector<DeviceMemory> memory_;
};

/// The device's values, when it has done all it was told to.
inline Tensor to_host(const ConstTensor& device, Tensors& memory) {
  expect_cuda(cudaDeviceSynchronize());
  const Tensor result = memory.empty(device.shape(), device.dtype());
  expect_cuda(cudaMemcpy(result.data(), device.data(), static_cast<std::size_t>(device.bytes()),
                         cudaMemcpyDeviceToHost));
  return result;
}

/// The schedules that kernels are tested in.
inline std::vector<cuda_sim::Options> schedules() {
  using cuda_sim::ThreadOrder;
  return {{.devices = 1, .order = ThreadOrder::linear},
          {.devices = 1, .order = ThreadOrder::reverse, .lazy_copies = false},
          {.devices = 1, .seed = 1, .order = ThreadOrder::seeded},
          {.devices = 1, .seed = 2, .order = ThreadOrder::seeded, .lazy_copies = false}};
}

}  // namespace hg::test
