#include "dist/mpi/process.h"

#include <algorithm>
#include <array>
#include <exception>
#include <thread>

#include "core/load_module.h"

namespace hg {
namespace {

// A message's length is an int in MPI.
constexpr std::int64_t kLargest = std::int64_t{1} << 30;

// Looks before a waiting thread gives its processor away: some ten microseconds, in which small
// messages come that are on their way.
constexpr int kQuickLooks = 200;

/// Calls fn(data, bytes) for pieces that MPI can count.
template <class Fn>
void for_pieces(std::int64_t bytes, Fn&& fn) {
  for (std::int64_t begin = 0; begin < bytes; begin += kLargest)
    fn(begin, static_cast<int>(std::min(kLargest, bytes - begin)));
}

}  // namespace

// Global, since MPI's own plugins look for its symbols.
MpiProcess::MpiProcess() : api_(&load_module<MpiApi>(kMpiModule, kMpiApiSymbol, "MPI", true)) {
  int serialized = 0;
  call(&MpiApi::initialize, "MPI_Init_thread", &world_, &serialized);
  HG_CHECK(serialized != 0,
           "this MPI supports calls from a single thread only; headgate needs "
           "MPI_THREAD_SERIALIZED");
}

MpiProcess::~MpiProcess() {
  if (!interrupted() && std::uncaught_exceptions() == 0) api_->finalize();
}

void MpiProcess::fail_mpi(const char* name, int code) const {
  std::array<char, 512> words{};
  api_->error_words(code, words.data(), static_cast<int>(words.size()));
  fail("{}: {}", name, words.data());
}

void MpiProcess::throw_if_interrupted() const {
  if (interrupted()) throw CommAborted(sentence_);
}

void MpiProcess::interrupt(const std::string& sentence) {
  const std::scoped_lock lock(sentence_mutex_);
  if (interrupted()) return;
  sentence_ = sentence;
  interrupted_.store(true, std::memory_order_release);
}

void MpiProcess::abort(int exit_code) {
  // Not under the lock: another thread may hold it for good.
  api_->abort(world_, exit_code);
  std::abort();  // MPI_Abort is allowed to return
}

void MpiTransfers::send(const void* data, std::int64_t bytes, int to) {
  for_pieces(bytes, [&](std::int64_t begin, int count) {
    Transfer transfer{.request = nullptr, .receives = -1, .from = -1};
    process_.call(&MpiApi::start_send, "MPI_Isend", static_cast<const std::byte*>(data) + begin,
                  count, to, tag_, comm_, &transfer.request);
    pending_.push_back(transfer);
  });
}

void MpiTransfers::receive(void* data, std::int64_t bytes, int from) {
  for_pieces(bytes, [&](std::int64_t begin, int count) {
    Transfer transfer{.request = nullptr, .receives = count, .from = from};
    process_.call(&MpiApi::start_receive, "MPI_Irecv", static_cast<std::byte*>(data) + begin, count,
                  from, tag_, comm_, &transfer.request);
    pending_.push_back(transfer);
  });
}

void MpiTransfers::broadcast(void* data, std::int64_t bytes, int root) {
  for_pieces(bytes, [&](std::int64_t begin, int count) {
    Transfer transfer{.request = nullptr, .receives = -1, .from = -1};
    process_.call(&MpiApi::start_broadcast, "MPI_Ibcast", static_cast<std::byte*>(data) + begin,
                  count, root, comm_, &transfer.request);
    pending_.push_back(transfer);
  });
}

void MpiTransfers::barrier() {
  Transfer transfer{.request = nullptr, .receives = -1, .from = -1};
  process_.call(&MpiApi::start_barrier, "MPI_Ibarrier", comm_, &transfer.request);
  pending_.push_back(transfer);
}

bool MpiTransfers::done() {
  std::erase_if(pending_, [&](Transfer& transfer) {
    int done = 0, bytes = 0;
    process_.call(&MpiApi::test, "MPI_Test", &transfer.request, &done, &bytes);
    if (done == 0) return false;
    HG_CHECK(transfer.receives < 0 || transfer.receives == bytes,
             "rank {} sends {} bytes where {} are expected", transfer.from, bytes,
             transfer.receives);
    return true;
  });
  return pending_.empty();
}

void MpiTransfers::wait() {
  for (int looks = 0; !done(); ++looks) {
    process_.throw_if_interrupted();
    if (looks > kQuickLooks) std::this_thread::yield();
  }
  process_.throw_if_interrupted();  // what a rank brings that should have ended does not count
}

}  // namespace hg
