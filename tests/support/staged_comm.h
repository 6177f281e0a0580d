// A communicator for tensors in host memory over one for tensors on a device: so that what checks
// any communicator checks that one.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "dist/comm.h"

namespace hg::test {

inline void expect_cuda(cudaError_t code) {
  HG_CHECK(code == cudaSuccess, "CUDA: {}", cudaGetErrorString(code));
}

class DeviceMemory {
 public:
  explicit DeviceMemory(std::int64_t bytes) {
    expect_cuda(cudaMalloc(&memory_, static_cast<std::size_t>(bytes)));
  }
  ~DeviceMemory() { cudaFree(memory_); }
  DeviceMemory(DeviceMemory&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;

  std::byte* data() const { return static_cast<std::byte*>(memory_); }

 private:
  void* memory_ = nullptr;
};

/// Every call copies its tensors to the device, makes the same call of `device`, copies back, and
/// waits. Tensors that overlap do so there, too.
class StagedComm final : public Comm {
 public:
  StagedComm(std::unique_ptr<Comm> device, cudaStream_t stream)
      : Comm({.rank = device->rank(),
              .name = device->name(),
              .members = device->members(),
              .record = std::make_shared<FlightRecord>(device->record().rank())}),
        device_(std::move(device)),
        stream_(stream) {}

  void abort(const std::string& sentence) override { device_->abort(sentence); }
  void interrupt(const std::string& sentence) override { device_->interrupt(sentence); }
  std::unique_ptr<SideChannel> side_channel() override { return device_->side_channel(); }

 private:
  /// The host memory that both tensors lie in, where they overlap, else of one of them.
  class Staged {
   public:
    Staged(const ConstTensor& a, const ConstTensor& b, cudaStream_t stream)
        : begin_(begin_of(a)), bytes_(a.bytes()), stream_(stream) {
      if (b && begin_of(b) < begin_ + bytes_ && begin_ < begin_of(b) + b.bytes()) {
        const std::byte* end = std::max(begin_ + bytes_, begin_of(b) + b.bytes());
        begin_ = std::min(begin_, begin_of(b));
        bytes_ = end - begin_;
      }
      memory_ = std::make_unique<DeviceMemory>(bytes_);
      expect_cuda(cudaMemcpyAsync(memory_->data(), begin_, static_cast<std::size_t>(bytes_),
                                  cudaMemcpyHostToDevice, stream_));
    }
    bool holds(const ConstTensor& x) const {
      return begin_ <= begin_of(x) && begin_of(x) + x.bytes() <= begin_ + bytes_;
    }
    Tensor tensor(const ConstTensor& x) const {
      return {memory_->data() + (begin_of(x) - begin_), x.dtype(), x.shape()};
    }
    void copy_back(const Tensor& x) const {
      expect_cuda(cudaMemcpyAsync(x.data(), tensor(x).data(), static_cast<std::size_t>(x.bytes()),
                                  cudaMemcpyDeviceToHost, stream_));
      expect_cuda(cudaStreamSynchronize(stream_));
    }

   private:
    static const std::byte* begin_of(const ConstTensor& x) {
      return static_cast<const std::byte*>(x.data());
    }
    const std::byte* begin_;
    std::int64_t bytes_;
    cudaStream_t stream_;
    std::unique_ptr<DeviceMemory> memory_;
  };

  /// Calls fn(out, in) with tensors on the device.
  template <class Fn>
  void staged(const Tensor& out, const ConstTensor& in, Fn&& fn) {
    const Staged first(out, in, stream_);
    if (!in || first.holds(in)) {
      fn(first.tensor(out), in ? first.tensor(in) : ConstTensor());
    } else {
      const Staged second(in, {}, stream_);
      fn(first.tensor(out), second.tensor(in));
      expect_cuda(cudaStreamSynchronize(stream_));
    }
    first.copy_back(out);
  }

  void do_all_reduce(const Tensor& x, Reduce reduce) override {
    staged(x, {},
           [&](const Tensor& its_x, const ConstTensor&) { device_->all_reduce(its_x, reduce); });
  }
  void do_reduce_scatter(const Tensor& out, const ConstTensor& in) override {
    staged(out, in, [&](const Tensor& its_out, const ConstTensor& its_in) {
      device_->reduce_scatter(its_out, its_in);
    });
  }
  void do_all_gather(const Tensor& out, const ConstTensor& in) override {
    staged(out, in, [&](const Tensor& its_out, const ConstTensor& its_in) {
      device_->all_gather(its_out, its_in);
    });
  }
  void do_all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                     const ConstTensor& in, std::span<const std::int64_t> send_rows) override {
    staged(out, in, [&](const Tensor& its_out, const ConstTensor& its_in) {
      device_->all_to_all(its_out, receive_rows, its_in, send_rows);
    });
  }
  void do_broadcast(const Tensor& x, int root) override {
    staged(x, {},
           [&](const Tensor& its_x, const ConstTensor&) { device_->broadcast(its_x, root); });
  }
  void do_send_receive(const ConstTensor& in, int to, const Tensor& out, int from) override {
    if (from < 0) {
      const Staged sent(in, {}, stream_);
      device_->send(sent.tensor(in), to);
      return expect_cuda(cudaStreamSynchronize(stream_));
    }
    staged(out, in, [&](const Tensor& its_out, const ConstTensor& its_in) {
      if (to < 0) return device_->receive(its_out, from);
      device_->send_receive(its_in, to, its_out, from);
    });
  }
  void do_barrier() override { device_->barrier(); }
  std::unique_ptr<Comm> do_split(int color, int key, std::string name) override {
    auto part = device_->split(color, key, std::move(name));
    return part ? std::make_unique<StagedComm>(std::move(part), stream_) : nullptr;
  }

  const std::unique_ptr<Comm> device_;
  const cudaStream_t stream_;
};

}  // namespace hg::test
