#include "dist/run_ranks.h"

#include <mutex>
#include <optional>
#include <thread>

#include "core/parallel.h"
#include "dist/comm_thread.h"
#include "dist/watchdog.h"

namespace hg {

void run_ranks(int size, const std::function<void(Comm&)>& fn, double timeout) {
  const std::vector<std::unique_ptr<Comm>> world = thread_world(size);
  std::vector<std::unique_ptr<Watchdog>> watchdogs;  // they answer for ranks that have returned
  for (const auto& comm : world) {
    watchdogs.push_back(std::make_unique<Watchdog>(
        *comm,
        WatchdogOptions{.timeout = timeout, .grace = 0.5, .records = {}, .report = nullptr}));
  }
  std::mutex mutex;
  std::optional<std::string> cause, consequence;
  const auto run = [&](Comm& comm) {
    // The number is the process's, but OpenMP keeps it for each thread that starts a team.
    set_num_threads(1);
    const auto failed = [&](const char* what) {
      const std::scoped_lock lock(mutex);
      if (!cause) cause = fmt::format("rank {}: {}", comm.rank(), what);
      comm.abort(*cause);
    };
    try {
      fn(comm);
    } catch (const CommAborted& e) {
      const std::scoped_lock lock(mutex);
      consequence = e.what();
    } catch (const std::exception& e) {
      failed(e.what());
    } catch (...) {
      failed("an exception that is not a std::exception");
    }
  };
  const int threads_before = num_threads();
  {
    std::vector<std::jthread> threads;
    for (const auto& comm : world) threads.emplace_back([&run, &comm] { run(*comm); });
  }
  set_num_threads(threads_before);
  if (cause) throw Error(*cause);
  if (consequence) throw Error(*consequence);
}

}  // namespace hg
