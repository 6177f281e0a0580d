#include "core/parallel.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace hg {

int hardware_threads() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

namespace {

// The number of threads is a property of the process's thread pool, as it is in OpenMP itself.
std::atomic<int> threads_in_use{0};

/// Takes tasks off a counter until none is left; keeps the first exception.
struct Run {
  std::int64_t tasks;
  void (*body)(void*, std::int64_t, int);
  void* state;
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;

  void work(int worker) {
    for (std::int64_t task = next++; task < tasks; task = next++) {
      try {
        body(state, task, worker);
      } catch (...) {
        const std::scoped_lock lock(mutex);
        if (!error) error = std::current_exception();
        next = tasks;
      }
    }
  }
};

}  // namespace

void set_num_threads(int threads) {
  threads_in_use = std::max(1, threads);
  omp_set_num_threads(num_threads());
}

int num_threads() {
  const int threads = threads_in_use.load(std::memory_order_relaxed);
  return threads > 0 ? threads : hardware_threads();
}

SingleThreadedLibraries::SingleThreadedLibraries() : before_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}

SingleThreadedLibraries::~SingleThreadedLibraries() { omp_set_num_threads(before_); }

void detail::run_parallel(std::int64_t tasks, void (*body)(void*, std::int64_t, int), void* state) {
  const int workers = static_cast<int>(std::min<std::int64_t>(tasks, num_threads()));
  if (workers <= 1) {
    for (std::int64_t task = 0; task < tasks; ++task) body(state, task, 0);
    return;
  }
  Run run{.tasks = tasks, .body = body, .state = state, .next = 0, .mutex = {}, .error = nullptr};
#if defined(HEADGATE_STD_THREADS)
  {
    std::vector<std::jthread> team;
    for (int i = 1; i < workers; ++i) team.emplace_back([&run, i] { run.work(i); });
    run.work(0);
  }
#else
#pragma omp parallel num_threads(workers)
  run.work(omp_get_thread_num());
#endif
  if (run.error) std::rethrow_exception(run.error);
}

}  // namespace hg
