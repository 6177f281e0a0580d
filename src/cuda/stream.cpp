#include "cuda/stream.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "cuda/check.h"
#include "cuda/stream_capture.h"

namespace hg {
namespace {

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  check_cuda(cudaDeviceGetAttribute(&value, which, device), "an attribute of the device");
  return value;
}

/// 12080 is "12.8".
std::string version_words(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

/// All but what is available, and what people call it.
std::pair<GpuFacts, std::string> describe(int device) {
  cudaDeviceProp properties;
  check_cuda(cudaGetDeviceProperties(&properties, device), "the device's properties");
  char address[32];
  check_cuda(cudaDeviceGetPCIBusId(address, sizeof address, device), "the device's address");
  int driver = 0, runtime = 0;
  check_cuda(cudaDriverGetVersion(&driver), "the driver's version");
  check_cuda(cudaRuntimeGetVersion(&runtime), "the runtime's version");
  const GpuFacts facts{.name = properties.name,
                       .address = address,
                       .architecture = 10 * attribute(cudaDevAttrComputeCapabilityMajor, device) +
                                       attribute(cudaDevAttrComputeCapabilityMinor, device),
                       .memory = static_cast<std::int64_t>(properties.totalGlobalMem),
                       .driver = version_words(driver),
                       .runtime = version_words(runtime)};
  return {facts, fmt::format("{}, sm_{}, {} multiprocessors, {:.1f} GiB", facts.name,
                             facts.architecture, attribute(cudaDevAttrMultiProcessorCount, device),
                             static_cast<double>(facts.memory) / (1 << 30))};
}

}  // namespace

int gpu_count() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  HG_CHECK(code == cudaSuccess && count > 0, "there is no GPU that CUDA can use here: {}",
           std::string(code == cudaSuccess ? "it counts none" : cudaGetErrorString(code)));
  return count;
}

StagingMemory::~StagingMemory() {
  for (cudaEvent_t event : left_) {
    if (event != nullptr) cudaEventDestroy(event);
  }
  if (memory_ != nullptr) cudaFreeHost(memory_);
}

void StagingMemory::make() {
  void* memory = nullptr;
  check_cuda(cudaMallocHost(&memory, 2 * kHalf), "pinned memory of the host");
  memory_ = static_cast<std::byte*>(memory);
  for (cudaEvent_t& event : left_)
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
}

void StagingMemory::upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  if (memory_ == nullptr) make();
  if (used_ + bytes > kHalf) {
    check_cuda(cudaEventRecord(left_[half_], stream), "an event behind a copy");
    half_ = 1 - half_;
    used_ = 0;
    check_cuda(cudaEventSynchronize(left_[half_]), "waiting for an earlier copy");
  }
  std::byte* staged = memory_ + half_ * kHalf + used_;
  std::memcpy(staged, from, bytes);
  check_cuda(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, stream),
             "a copy to the device");
  used_ += bytes;
}

CudaStream::CudaStream(int device, CudaOps ops) : device_(device), ops_(ops) {
  const int count = gpu_count();
  HG_CHECK(0 <= device && device < count, "there is no GPU {}: CUDA counts {} here", device, count);
  use();
  std::tie(facts_, description_) = describe(device);
  check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
}

CudaStream::~CudaStream() {
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);  // staging memory is being read
  cudaStreamDestroy(stream_);
}

void CudaStream::use() const {
  int current = -1;
  check_cuda(cudaGetDevice(&current), "the current device");
  if (current != device_) check_cuda(cudaSetDevice(device_), "the device");
}

GpuFacts CudaStream::facts() const {
  use();
  std::size_t available = 0, memory = 0;
  check_cuda(cudaMemGetInfo(&available, &memory), "the device's memory");
  GpuFacts facts = facts_;
  facts.available = static_cast<std::int64_t>(available);
  return facts;
}

void* CudaStream::allocate(std::size_t bytes) {
  use();
  void* memory = nullptr;
  const cudaError_t code = cudaMalloc(&memory, bytes);
  HG_CHECK(code == cudaSuccess, "GPU {} cannot give {:.1f} MiB of memory: {}", device_,
           static_cast<double>(bytes) / (1 << 20), std::string(cudaGetErrorString(code)));
  return memory;
}

void CudaStream::release(void* memory) noexcept {
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);
  cudaFree(memory);
}

void CudaStream::run(std::string_view name, const void* op, Context& ctx) {
  use();
  ops_(name)(op, ctx, stream_);
}

void CudaStream::copy(void* to, const void* from, std::size_t bytes) {
  use();
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_),
             "a copy on the device");
}

void CudaStream::zero(void* memory, std::size_t bytes) {
  use();
  check_cuda(cudaMemsetAsync(memory, 0, bytes, stream_), "zeros");
}

void CudaStream::upload(void* to, const void* from, std::size_t bytes) {
  refuse_in_graph("an upload");
  use();
  for (std::size_t done = 0; done < bytes; done += StagingMemory::kHalf) {
    staging_.upload(static_cast<std::byte*>(to) + done, static_cast<const std::byte*>(from) + done,
                    std::min(StagingMemory::kHalf, bytes - done), stream_);
  }
}

void CudaStream::download(void* to, const void* from, std::size_t bytes) {
  use();
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_),
             "a copy to the host");
  synchronize();
}

void CudaStream::synchronize() {
  use();
  const auto watched = watch_ ? watch_() : nullptr;
  check_cuda(cudaStreamSynchronize(stream_), "waiting for the device");
}

std::shared_ptr<GpuStream> CudaStream::another() {
  return std::make_shared<CudaStream>(device_, ops_);
}

GpuStream::Mark CudaStream::mark() {
  use();
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
  Mark mark(event, [](void* its) { cudaEventDestroy(static_cast<cudaEvent_t>(its)); });
  check_cuda(cudaEventRecord(event, stream_), "an event");
  return mark;
}

void CudaStream::wait_for(const Mark& mark) {
  use();
  check_cuda(cudaStreamWaitEvent(stream_, static_cast<cudaEvent_t>(mark.get()), 0),
             "waiting for another stream");
}

void CudaStream::refuse_in_graph(const char* what) const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check_cuda(cudaStreamIsCapturing(stream_, &status), "whether a stream is being recorded");
  HG_CHECK(status == cudaStreamCaptureStatusNone, "GPU: {} cannot be part of a graph", what);
}

GpuGraphs::Graph CudaStream::record(const std::function<void()>& work) {
  use();
  StreamCapture capture(stream_);
  work();
  return capture.finish();
}

void CudaStream::launch(const Graph& graph, const std::function<void()>&) {
  use();
  check_cuda(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.get()), stream_), "a graph");
}

}  // namespace hg
