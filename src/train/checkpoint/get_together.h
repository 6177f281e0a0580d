// Waiting for what takes as long as disks do: some may be slow, none may hang unseen.
#pragma once

#include <chrono>
#include <future>
#include <optional>
#include <string_view>

#include "dist/comm.h"

namespace hg {

/// What this rank's work has made, if it has any, once that of all ranks is done. Ranks tell each
/// other every second that they are still there, so that a collective's time-out is not one of the
/// work. Throws what the work of this rank has thrown, at once. `host` is null for a rank alone.
/// Collective.
template <class T>
std::optional<T> get_together(Comm* host, std::future<T>& work, std::string_view label) {
  std::optional<T> made;
  for (std::int32_t waiting = 1; waiting != 0;) {
    if (work.valid() && work.wait_for(std::chrono::seconds(1)) == std::future_status::ready)
      made = work.get();
    waiting = work.valid() ? 1 : 0;
    if (host != nullptr) host->all_reduce(Tensor(&waiting, DType::i32, {1}), Reduce::max, label);
  }
  return made;
}

}  // namespace hg
