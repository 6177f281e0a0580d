// NCCL's communicators of one rank: every call of NCCL goes through here, one at a time, and an
// interrupt ends them all.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "dist/comm.h"
#include "dist/nccl/api.h"

namespace hg {

/// A world of NCCL and the groups split off, on one device. Threads may share it.
class NcclProcess {
 public:
  using Handle = NcclApi::Comm;

  /// Throws if there is no such device, or NCCL is older than what the module was built with.
  NcclProcess(const NcclApi& api, int device);
  /// Aborts what was not closed: communicators that were never finished.
  ~NcclProcess();
  NcclProcess(const NcclProcess&) = delete;
  NcclProcess& operator=(const NcclProcess&) = delete;

  const NcclApi& api() const { return api_; }
  /// NCCL's, which must be the same on all ranks: "2.28.9".
  const std::string& version() const { return version_; }

  /// Calls a function that takes no communicator. An error becomes one of ours, with NCCL's or
  /// CUDA's words; `what` says for what.
  template <class... Parameters, class... Arguments>
  void call(int (*NcclApi::*function)(Parameters...), const char* what, Arguments... arguments) {
    const std::scoped_lock lock(mutex_);
    use_device();
    check((api_.*function)(arguments...), nullptr, what);
  }

  /// What makes ranks that initialize with it a world: bytes.
  std::string new_id();
  Handle initialize(int size, const std::string& id, int rank);
  /// Null for a negative color. Waits for all ranks, as initialize does.
  Handle split(Handle comm, int color, int key, const std::string& what);
  /// Waits until all that was enqueued is done; after an error or an interrupt, aborts instead.
  void close(Handle comm);

  /// Enqueues what `fn`, called with the table, calls, and returns NCCL's code. Throws if the
  /// communicator has failed since it was used last.
  template <class Fn>
  void enqueue(Handle comm, const std::string& what, Fn&& fn) {
    {
      const std::scoped_lock lock(mutex_);
      throw_if_interrupted();
      use_device();
      check(api_.state(comm), comm, what);
      const int code = fn(api_);
      if (code != NcclApi::kInProgress) check(code, comm, what);
    }
    settle(comm, what);
  }

  /// Until the device has done all that is enqueued, or the communicator fails.
  void wait(Handle comm, NcclApi::Stream stream, const std::string& what);

  /// Aborts all communicators, and makes waiting and later calls throw CommAborted.
  void interrupt(const std::string& sentence);

 private:
  void use_device() { check(api_.use(device_), nullptr, "the device"); }
  void check(int code, Handle comm, const std::string& what) const;
  void settle(Handle comm, const std::string& what);
  void throw_if_interrupted() const;

  const NcclApi& api_;
  const int device_;
  std::string version_;
  std::mutex mutex_;
  std::vector<Handle> comms_;  // in the order of their making
  bool interrupted_ = false;
  std::string sentence_;
};

}  // namespace hg
