// Threads of the CPU backend. This is the only place that knows OpenMP.
#pragma once

#include <cstdint>
#include <type_traits>

namespace hg {

/// That this process may use: launchers, containers and batch systems give fewer than all.
int hardware_threads();

/// Number of threads that parallel_for and oneDNN use from here on; at least 1.
void set_num_threads(int threads);
int num_threads();

/// While one lives, libraries that this thread calls and that use OpenMP run on this thread alone;
/// parallel_for is not affected.
class SingleThreadedLibraries {
 public:
  SingleThreadedLibraries();
  ~SingleThreadedLibraries();
  SingleThreadedLibraries(const SingleThreadedLibraries&) = delete;
  SingleThreadedLibraries& operator=(const SingleThreadedLibraries&) = delete;

 private:
  int before_;
};

namespace detail {
void run_parallel(std::int64_t tasks, void (*body)(void*, std::int64_t, int), void* state);
}

/// Calls fn(task) or fn(task, worker) for every task in [0, tasks), each once, in any order;
/// `worker` in [0, num_threads()) tells whose scratch to use. Results must not depend on which
/// worker runs a task: that makes runs with 1 and with n threads equal bit by bit. The first
/// exception is rethrown.
template <class Fn>
void parallel_for(std::int64_t tasks, Fn&& fn) {
  detail::run_parallel(
      tasks,
      [](void* state, std::int64_t task, int worker) {
        auto& call = *static_cast<std::remove_reference_t<Fn>*>(state);
        if constexpr (std::is_invocable_v<decltype(call), std::int64_t, int>) {
          call(task, worker);
        } else {
          call(task);
        }
      },
      const_cast<void*>(static_cast<const void*>(&fn)));
}

/// Calls fn(begin, end) on pieces of [0, n) of `grain` elements; the last may be shorter.
template <class Fn>
void parallel_ranges(std::int64_t n, std::int64_t grain, Fn&& fn) {
  parallel_for((n + grain - 1) / grain, [&](std::int64_t piece) {
    const std::int64_t begin = piece * grain;
    fn(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace hg
