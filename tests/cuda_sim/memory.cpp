// Simulated memory: allocations of host memory that know what they stand for.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "core/check.h"
#include "cuda_sim/kernel.h"
#include "cuda_sim/machine.h"

namespace cuda_sim {
namespace {

constexpr std::size_t kAlignment = 256;  // cudaMalloc's

thread_local int the_current_device = 0;
thread_local cudaError_t the_last_error = cudaSuccess;
thread_local std::string the_explanation;

/// Throws unless [to, to + bytes) and [from, from + bytes) are of the kind of copy.
void check_copy(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = machine().memory.kind_of(to, bytes) == MemoryKind::device;
  const bool from_device = machine().memory.kind_of(from, bytes) == MemoryKind::device;
  if (kind == cudaMemcpyDefault) return;
  const bool wants_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool wants_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  HG_CHECK(to_device == wants_to, "the target of a copy is {} memory of the device",
           to_device ? "in" : "not in");
  HG_CHECK(from_device == wants_from, "the source of a copy is {} memory of the device",
           from_device ? "in" : "not in");
}

/// What of a copy may happen later, and what has to happen now, is as CUDA documents it.
cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                 cudaStream_t stream, bool wait) {
  if (const cudaError_t code = check_caller()) return code;
  if (bytes == 0) return cudaSuccess;
  try {
    check_copy(to, from, bytes, kind);
  } catch (const hg::Error& e) {
    return error(cudaErrorInvalidValue, e.what());
  }
  Memory& memory = machine().memory;
  const auto* source = static_cast<const std::byte*>(from);
  Device& own = device();
  stream = own.stream_of(stream);
  if (const cudaError_t code = check_capture(stream)) return code;
  const bool pageable = !memory.kind_of(from, bytes) || !memory.kind_of(to, bytes);
  if (wait || pageable) {
    const char* const call = wait ? "cudaMemcpy" : "a copy from or to pageable memory";
    if (const cudaError_t code = check_not_capturing(stream, call)) return code;
  }
  Work work = [to, source, bytes] {
    std::memmove(to, source, bytes);
    return true;
  };
  if (!memory.kind_of(from, bytes)) {  // pageable: read before the call returns
    work = [to, staged = std::vector<std::byte>(source, source + bytes)] {
      std::memcpy(to, staged.data(), staged.size());
      return true;
    };
  }
  const MarkPointer mark = own.enqueue(
      stream, std::move(work), {},
      {.kind = "copy", .values = {bytes_of(to), bytes_of(from), bytes_of(bytes), bytes_of(kind)}});
  if (wait || !memory.kind_of(to, bytes))
    machine().wait(current_device(), [&] { return mark->done.load(); });
  return cudaSuccess;
}

cudaError_t allocate(void** result, std::size_t bytes, MemoryKind kind) {
  if (const cudaError_t code = check_safe("an allocation")) return code;
  ++machine().allocations;
  *result = machine().memory.allocate(bytes, kind);
  return *result != nullptr ? cudaSuccess : error(cudaErrorMemoryAllocation, "no memory is left");
}

cudaError_t release(void* memory, MemoryKind kind) {
  if (memory == nullptr) return cudaSuccess;
  if (const cudaError_t code = check_safe("freeing memory")) return code;
  if (const cudaError_t code = wait_for_device()) return code;
  if (machine().memory.release(memory, kind)) return cudaSuccess;
  return error(cudaErrorInvalidValue, "what is to be freed was not allocated, or otherwise");
}

}  // namespace

int current_device() { return the_current_device; }

cudaError_t error(cudaError_t code, std::string explanation) {
  the_last_error = code;
  the_explanation = std::move(explanation);
  return code;
}

std::string Simulation::explanation() { return the_explanation; }

Memory::Memory(bool guarded) {
  if (guarded) heap_ = std::make_unique<GuardedHeap>();
}

Memory::~Memory() {
  for (const auto& [address, block] : blocks_) {
    if (!heap_ || block.kind == MemoryKind::pinned) std::free(reinterpret_cast<void*>(address));
  }
}

void* Memory::allocate(std::size_t bytes, MemoryKind kind) {
  void* memory = nullptr;  // no more than asked for, so that AddressSanitizer sees the end
  if (heap_ && kind == MemoryKind::device) {
    memory = heap_->allocate(bytes);
    if (memory == nullptr) return nullptr;
  } else if (posix_memalign(&memory, kAlignment, std::max<std::size_t>(bytes, 1)) != 0) {
    return nullptr;
  }
  {
    const GuardedHeap::Open open(heap_.get());
    std::memset(memory, 0xff, bytes);
  }
  const std::scoped_lock lock(mutex_);
  blocks_[reinterpret_cast<std::uintptr_t>(memory)] = {
      .bytes = bytes, .kind = kind, .device = the_current_device};
  return memory;
}

bool Memory::release(void* memory, MemoryKind kind) {
  const std::scoped_lock lock(mutex_);
  const auto found = blocks_.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == blocks_.end() || found->second.kind != kind) return false;
  blocks_.erase(found);
  heap_&& kind == MemoryKind::device ? heap_->release(memory) : std::free(memory);
  return true;
}

std::optional<MemoryKind> Memory::kind_of(const void* address, std::size_t bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const std::scoped_lock lock(mutex_);
  auto found = blocks_.upper_bound(begin);
  if (found == blocks_.begin()) return std::nullopt;
  const auto& [start, block] = *--found;
  if (begin >= start + block.bytes) return std::nullopt;
  HG_CHECK(begin + bytes <= start + block.bytes,
           "{} bytes from byte {} of an allocation go beyond its end, which has {}", bytes,
           begin - start, block.bytes);
  return block.kind;
}

std::size_t Memory::blocks() const {
  const std::scoped_lock lock(mutex_);
  return blocks_.size();
}

std::size_t Memory::held_of(int device) const {
  const std::scoped_lock lock(mutex_);
  std::size_t bytes = 0;
  for (const auto& [address, block] : blocks_)
    if (block.kind == MemoryKind::device && block.device == device) bytes += block.bytes;
  return bytes;
}

std::vector<std::span<std::byte>> Memory::allocations() const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::span<std::byte>> result;
  for (const auto& [address, block] : blocks_)
    result.emplace_back(reinterpret_cast<std::byte*>(address), block.bytes);
  return result;
}

}  // namespace cuda_sim

using namespace cuda_sim;

extern "C" {

cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= machine().options.devices)
    return error(cudaErrorInvalidDevice, fmt::format("there is no device {}", index));
  the_current_device = index;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* index) {
  *index = the_current_device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = machine().options.devices;
  if (*count > 0) return cudaSuccess;
  return error(cudaErrorNoDevice, "the simulated machine has no device");
}

cudaError_t cudaMalloc(void** result, size_t bytes) {
  return allocate(result, bytes, MemoryKind::device);
}
cudaError_t cudaMallocHost(void** result, size_t bytes) {
  return allocate(result, bytes, MemoryKind::pinned);
}
cudaError_t cudaFree(void* memory) { return release(memory, MemoryKind::device); }
cudaError_t cudaFreeHost(void* memory) { return release(memory, MemoryKind::pinned); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return copy(to, from, bytes, kind, stream, false);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return copy(to, from, bytes, kind, nullptr, true);
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  if (const cudaError_t code = check_caller()) return code;
  try {
    HG_CHECK(machine().memory.kind_of(memory, bytes) == MemoryKind::device,
             "what is to be set is not in memory of the device");
  } catch (const hg::Error& e) {
    return error(cudaErrorInvalidValue, e.what());
  }
  stream = device().stream_of(stream);
  if (const cudaError_t code = check_capture(stream)) return code;
  const Work work = [=] {
    std::memset(memory, value, bytes);
    return true;
  };
  device().enqueue(
      stream, work, {},
      {.kind = "memset", .values = {bytes_of(memory), bytes_of(value), bytes_of(bytes)}});
  return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}

cudaError_t cudaGetLastError() { return std::exchange(the_last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return the_last_error; }

const char* cudaGetErrorName(cudaError_t code) {
  switch (code) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorNotPermitted:
      return "cudaErrorNotPermitted";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureIsolation:
      return "cudaErrorStreamCaptureIsolation";
    case cudaErrorStreamCaptureMerge:
      return "cudaErrorStreamCaptureMerge";
    case cudaErrorStreamCaptureUnmatched:
      return "cudaErrorStreamCaptureUnmatched";
    case cudaErrorStreamCaptureUnjoined:
      return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorCapturedEvent:
      return "cudaErrorCapturedEvent";
    default:
      return "an error that the simulation does not make";
  }
}

/// The words of the real one, but where the error is the latest: those say more.
const char* cudaGetErrorString(cudaError_t code) {
  return code == the_last_error && !the_explanation.empty() ? the_explanation.c_str()
                                                            : cudaGetErrorName(code);
}
}
