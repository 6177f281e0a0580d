// What device code calls in the simulation: a thread's place, barriers, operations of warps, shared
// memory, asynchronous copies. Kernels see it as CUDA's built-ins (builtins.h) and hg's PTX
// wrappers (cuda/ptx.h).
#pragma once

#include <cuda_runtime_api.h>
#include <vector_types.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

namespace cuda_sim {

/// Where the kernel's source made a call; a default argument of every built-in that can fail.
class Where {
 public:
  constexpr Where() = default;
  constexpr Where(const char* file, unsigned line) : file_(file), line_(line) {}
  static constexpr Where current(const char* file = __builtin_FILE(),
                                 unsigned line = __builtin_LINE()) {
    return {file, line};
  }
  const char* file_name() const { return file_; }
  unsigned line() const { return line_; }

 private:
  const char* file_ = "";  // outlives every kernel
  unsigned line_ = 0;
};

inline constexpr unsigned kWarp = 32, kAllLanes = 0xffffffff;

/// A thread, as it sees itself.
struct Thread {
  uint3 thread, block;
  dim3 block_size, grid_size;
  unsigned number, lane, warp;  // within the block; lane within the warp
};

/// The thread that runs; null outside of kernels.
extern constinit thread_local const Thread* the_thread;

/// Ends the launch with an error that names the thread and the place.
[[noreturn]] void fail(const std::string& sentence, const Where& where);

/// __syncthreads; returns the number of threads that came with a predicate that holds.
int barrier(bool predicate, const Where& where);

/// The operands of one warp operation. A lane's pointers are null unless it is in `lanes`.
struct WarpOperands {
  std::uint32_t lanes;
  std::array<const void*, kWarp> in;
  std::array<void*, kWarp> out;

  template <class T>
  T get(unsigned lane) const {
    T value;
    std::memcpy(&value, in[lane], sizeof value);
    return value;
  }
  template <class T>
  void put(unsigned lane, const T& value) const {
    std::memcpy(out[lane], &value, sizeof value);
  }
  bool has(unsigned lane) const { return (lanes >> lane & 1U) != 0; }
};

/// Waits for the other lanes of `mask` that have not exited; the last to come performs `combine`
/// for all. Without one, it is a __syncwarp: it orders memory, which no other operation does.
void warp_operation(const char* name, std::uint32_t mask, const void* in, void* out,
                    void (*combine)(const WarpOperands&), const Where& where);

/// One that all 32 lanes must take part in.
void whole_warp_operation(const char* name, const void* in, void* out,
                          void (*combine)(const WarpOperands&), const Where& where);

/// The block's array for the declaration that `key` stands for: NaN until written.
void* shared_array(const void* key, std::size_t bytes, const Where& where);
/// The shared memory whose size the launch says.
void* dynamic_shared_array();
std::size_t dynamic_shared_bytes();

/// cp.async: copies `count` of `bytes` bytes, and zeroes for the rest, when they are waited for, or
/// at once (Options::lazy_copies).
void copy_async(void* shared, const void* global, std::size_t bytes, std::size_t count,
                const Where& where);
void commit_copies();
/// Until no more than `pending` of the calling thread's groups are under way.
void wait_for_copies(std::size_t pending);

/// Multiplies 16x16 by 16x8 bf16 and adds to 16x8 f32; in: MmaOperands, out: float[4].
struct MmaOperands {
  float d[4];
  std::uint32_t a[4], b[2];
};
void multiply_matrices(const WarpOperands& warp);
/// Every lane has the address of a row of 8x8 16-bit elements and gets four pairs of elements.
void load_matrices(const WarpOperands& warp);
void load_transposed_matrices(const WarpOperands& warp);

/// A kernel and what it is launched with.
struct Call {
  const void* kernel;
  std::vector<std::vector<std::byte>> arguments;  // the bytes of each
  std::function<void()> body;                     // of every thread, by the C++ compiler
};
template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  T copy = value;
  __builtin_clear_padding(&copy);  // so that equal arguments have equal bytes
  const auto* bytes = reinterpret_cast<const std::byte*>(&copy);
  return {bytes, bytes + sizeof copy};
}
template <class... Parameters>
Call call(void (*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
  return {reinterpret_cast<const void*>(kernel), {bytes_of(arguments)...}, [=] {
            kernel(arguments...);
          }};
}

/// Gives another body to a call: set where kernels run on nvcc's PTX, else null.
using Translate = std::function<void()> (*)(const Call&);
Translate& translate();

/// Puts a kernel into a stream. Returns what cudaLaunchKernel would where the device's limits are
/// exceeded.
cudaError_t launch(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes, Call call);

/// What looks at memory as kernels use it: set while the race check runs, else empty.
struct Observer {
  void (*launch)() = nullptr;                                      // the next kernel begins
  void (*fresh)(const void* memory, std::size_t bytes) = nullptr;  // nobody has used it
  void (*access)(const void* memory, std::size_t bytes, bool write,
                 void* program_counter) = nullptr;
};
Observer& observer();

}  // namespace cuda_sim
