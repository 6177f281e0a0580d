// This process as MPI sees it, and transfers that do not hold on to a processor that others need.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dist/comm.h"
#include "dist/mpi/api.h"

namespace hg {

/// MPI from its start to its end, one per process. Every call of MPI goes through it, one at a
/// time.
class MpiProcess {
 public:
  /// Loads the module, which lies beside the program or in ../lib, and starts MPI.
  MpiProcess();
  /// Ends MPI, waiting for all ranks. Not after an interrupt or in the course of an exception: then
  /// the process is expected to abort or to exit, which MPI's launcher notices.
  ~MpiProcess();
  MpiProcess(const MpiProcess&) = delete;
  MpiProcess& operator=(const MpiProcess&) = delete;

  MpiApi::Comm world() const { return world_; }

  /// Calls a function of the table; an error becomes one of ours, with MPI's words.
  template <class... Parameters, class... Arguments>
  void call(int (*MpiApi::*function)(Parameters...), const char* name, Arguments... arguments) {
    const std::scoped_lock lock(mutex_);
    if (const int code = (api_->*function)(arguments...)) fail_mpi(name, code);
  }

  /// Throws CommAborted if this rank has been interrupted.
  void throw_if_interrupted() const;
  void interrupt(const std::string& sentence);
  bool interrupted() const { return interrupted_.load(std::memory_order_acquire); }
  /// Ends the processes of all ranks.
  [[noreturn]] void abort(int exit_code);

 private:
  [[noreturn]] void fail_mpi(const char* name, int code) const;

  const MpiApi* api_;
  MpiApi::Comm world_ = nullptr;
  std::mutex mutex_;
  std::atomic<bool> interrupted_{false};
  std::mutex sentence_mutex_;  // not the other one: a call of MPI may hold that for good
  std::string sentence_;       // written before interrupted_ is set
};

/// Transfers of one communicator that are under way together.
class MpiTransfers {
 public:
  MpiTransfers(MpiProcess& process, MpiApi::Comm comm, int tag)
      : process_(process), comm_(comm), tag_(tag) {}

  void send(const void* data, std::int64_t bytes, int to);
  void receive(void* data, std::int64_t bytes, int from);
  void broadcast(void* data, std::int64_t bytes, int root);
  void barrier();
  /// Until all are done. Gives the processor away between looks: with as many ranks as processors,
  /// who waits must not keep a rank that computes from it.
  void wait();
  /// Looks once, and forgets those that are done.
  bool done();

 private:
  struct Transfer {
    MpiApi::Request request;
    int receives;  // bytes; -1 for others than receives
    int from;
  };

  MpiProcess& process_;
  const MpiApi::Comm comm_;
  const int tag_;
  std::vector<Transfer> pending_;
};

}  // namespace hg
