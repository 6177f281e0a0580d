// A GPU, as code that does not know CUDA sees it: memory, and work that goes on behind the host's
// back, in order.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"

namespace hg {

struct Context;

/// A stream of work on one GPU. Calls enqueue and return; what they enqueue runs in their order.
/// Errors of the device, which may come from an earlier call, throw. One thread at a time.
class GpuStream {
 public:
  /// A place in the stream, which another stream can wait for.
  using Mark = std::shared_ptr<void>;

  virtual ~GpuStream() = default;
  GpuStream(const GpuStream&) = delete;
  GpuStream& operator=(const GpuStream&) = delete;

  /// "NVIDIA H100 80GB HBM3, sm_90, 132 multiprocessors, 79.6 GiB"
  virtual const std::string& description() const = 0;
  /// Which of the machine's GPUs.
  virtual int device() const = 0;
  /// The stream's handle: a cudaStream_t.
  virtual void* handle() const = 0;

  /// Memory of the GPU, 256-byte aligned, its values undefined. Waits for the GPU, as release does.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) noexcept = 0;

  /// Runs the op of this name, which `op` points to.
  virtual void run(std::string_view name, const void* op, Context& ctx) = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void zero(void* memory, std::size_t bytes) = 0;
  /// From memory of the host, which may be used again at once.
  virtual void upload(void* to, const void* from, std::size_t bytes) = 0;
  /// To memory of the host. Waits for all that is in the stream.
  virtual void download(void* to, const void* from, std::size_t bytes) = 0;
  virtual void synchronize() = 0;
  /// Called where the host begins to wait for the stream; what it returns is dropped when that is
  /// over.
  using WaitWatch = std::function<std::shared_ptr<void>()>;
  virtual void watch_waits(WaitWatch watch) = 0;

  /// Another stream of the same GPU, which runs beside this one.
  virtual std::shared_ptr<GpuStream> another() = 0;
  /// What was enqueued so far.
  virtual Mark mark() = 0;
  /// What is enqueued from here on waits for what `mark`, of any stream of this GPU, stands for.
  virtual void wait_for(const Mark& mark) = 0;

 protected:
  GpuStream() = default;
};

/// Puts values of the host into a contiguous tensor where the context computes; bytes as they are.
void store_values(const Context& ctx, const Tensor& to, const void* from);

/// The elements of a contiguous tensor, for the host to read: where they are, or, from a GPU, a
/// copy, for which the constructor waits.
template <class T>
class HostValues {
 public:
  HostValues(const Context& ctx, const ConstTensor& tensor);
  const T* data() const { return values_; }
  const T& operator[](std::int64_t i) const { return values_[i]; }

 private:
  std::vector<std::byte> copy_;
  const T* values_;
};

/// The same bytes in another contiguous tensor of the same context.
void copy_values(const Context& ctx, const Tensor& to, const ConstTensor& from);
/// Copies a tensor's bytes to where the host can read them.
void load_values(const Context& ctx, void* to, const ConstTensor& from);
/// Whether tensors of this context lie where the host cannot read them.
bool on_gpu(const Context& ctx);

template <class T>
HostValues<T>::HostValues(const Context& ctx, const ConstTensor& tensor) : values_(tensor.as<T>()) {
  if (!on_gpu(ctx)) return;
  copy_.resize(static_cast<std::size_t>(tensor.bytes()));
  load_values(ctx, copy_.data(), tensor);
  values_ = reinterpret_cast<const T*>(copy_.data());
}

}  // namespace hg
