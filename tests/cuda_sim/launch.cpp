// Kernels in the simulated streams: limits of a launch, blocks one after the other.
#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "cuda_sim/block.h"
#include "cuda_sim/machine.h"

namespace cuda_sim {
namespace {

std::string words(const dim3& size) { return fmt::format("({}, {}, {})", size.x, size.y, size.z); }

/// Throws hg::Error if no device takes such a launch.
void check_limits(const dim3& grid, const dim3& block, std::size_t shared_bytes,
                  const Options& options) {
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  HG_CHECK(threads >= 1 && threads <= kMaxThreads && block.z <= kMaxThreadsZ,
           "a block of {} threads: expected 1 to {}, and {} along z", words(block), kMaxThreads,
           kMaxThreadsZ);
  HG_CHECK(grid.x >= 1 && grid.x <= 0x7fffffff && grid.y >= 1 && grid.y <= kMaxGridYZ &&
               grid.z >= 1 && grid.z <= kMaxGridYZ,
           "a grid of {} blocks: expected 1 to 2^31 - 1 along x, to {} along y and z", words(grid),
           kMaxGridYZ);
  HG_CHECK(shared_bytes <= options.shared_memory,
           "{} bytes of shared memory, more than the device's {}", shared_bytes,
           options.shared_memory);
}

void run_grid(const std::function<void()>& kernel, dim3 grid, dim3 block, std::size_t shared_bytes,
              const Options& options) {
  std::vector<unsigned> order(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0U);
  if (options.order == ThreadOrder::reverse) std::ranges::reverse(order);
  if (options.order == ThreadOrder::seeded)
    std::ranges::shuffle(order, std::mt19937_64(options.seed));
  thread_local Block its_block;  // keeps its fibers from launch to launch
  for (const unsigned i : order) {
    const uint3 position{i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
    its_block.run(kernel, position, grid, block, shared_bytes, options);
  }
}

}  // namespace

Translate& translate() {
  static Translate translate = nullptr;
  return translate;
}

cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                   Call call) {
  if (const cudaError_t code = check_caller()) return code;
  const Options& options = machine().options;
  try {
    check_limits(grid, block, shared_bytes, options);
  } catch (const hg::Error& e) {
    return error(cudaErrorInvalidConfiguration, e.what());
  }
  std::function<void()> kernel = translate() != nullptr ? translate()(call) : std::move(call.body);
  Device& its_device = device();
  stream = its_device.stream_of(stream);
  if (const cudaError_t code = check_capture(stream)) return code;
  if (!stream->capture) ++machine().launches;
  Operands operands{.kind = "kernel", .values = std::move(call.arguments)};
  for (const auto& value :
       {bytes_of(call.kernel), bytes_of(grid), bytes_of(block), bytes_of(shared_bytes)})
    operands.values.push_back(value);
  const auto work = [=, &options, kernel = std::move(kernel)] {
    if (observer().launch != nullptr) observer().launch();
    run_grid(kernel, grid, block, shared_bytes, options);
    return true;
  };
  its_device.enqueue(stream, work, {}, std::move(operands));
  return cudaSuccess;
}

}  // namespace cuda_sim
