#include "cuda_sim/nccl_clique.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "dist/ranks_words.h"

namespace cuda_sim {
namespace {

constexpr const char* kKinds[] = {"AllReduce", "ReduceScatter", "AllGather", "Broadcast",
                                  "Split",     "Send",          "Recv"};

std::string name_of(ncclDataType_t type) {
  switch (type) {
    case ncclFloat32:
      return "float32";
    case ncclBfloat16:
      return "bfloat16";
    case ncclInt32:
      return "int32";
    default:
      return fmt::format("of type {}", static_cast<int>(type));
  }
}

}  // namespace

std::string Ask::words() const {
  const std::string name = kKinds[static_cast<std::size_t>(kind)];
  if (kind == Kind::split) return name;
  std::string words = fmt::format("{} of {} {}", name, count, name_of(type));
  if (op == ncclMax) words += ", max";
  if (kind == Kind::broadcast) words += fmt::format(", from {}", root);
  if (recorded > 0) words += fmt::format(", recorded as number {}", recorded);
  return words;
}

void Clique::fail(Lock&, ncclResult_t code, const std::string& words) {
  if (!failure_) failure_.emplace(code, words);
  throw *failure_;
}

void Clique::fail(ncclResult_t code, const std::string& words) {
  const std::scoped_lock lock(mutex_);
  if (!failure_) failure_.emplace(code, words);
}

void Clique::throw_if_failed(Lock&) const {
  if (failure_) throw *failure_;
}

bool Clique::complete() const {
  const std::scoped_lock lock(mutex_);
  return std::ranges::find(devices_, -1) == devices_.end();
}

void Clique::throw_if_failed() const {
  Lock lock(mutex_);
  throw_if_failed(lock);
}

bool Clique::wait_for(Lock& lock, int rank, const std::string& what,
                      const std::vector<int>& missing, hg::Clock::time_point since) {
  if (hg::seconds_since(since) > timeout_) {
    fail(lock, ncclSystemError,
         fmt::format("rank {} waits in {} for {}, which did not come within {} s", rank, what,
                     hg::ranks_words(missing), timeout_));
  }
  return false;
}

bool Clique::join(int rank, int device, hg::Clock::time_point since) {
  Lock lock(mutex_);
  throw_if_failed(lock);
  int& own = devices_[static_cast<std::size_t>(rank)];
  if (own < 0) {
    const auto same = std::ranges::find(devices_, device);
    if (same != devices_.end()) {
      fail(lock, ncclInvalidUsage,
           fmt::format("Duplicate GPU detected : rank {} and rank {} both on CUDA device {}", rank,
                       same - devices_.begin(), device));
    }
    own = device;
  }
  std::vector<int> missing;
  for (int r = 0; r < size(); ++r)
    if (devices_[static_cast<std::size_t>(r)] < 0) missing.push_back(r);
  return missing.empty() || wait_for(lock, rank, "the init", missing, since);
}

/// All have come: they must ask for the same thing.
void Clique::hold(Lock& lock, Meeting& meeting) {
  std::vector<Ask> asks;
  for (const auto& ask : meeting.asks) asks.push_back(*ask);
  for (std::size_t r = 1; r < asks.size(); ++r) {
    if (asks[r].words() != asks[0].words()) {
      fail(lock, ncclInternalError,
           fmt::format("rank 0 calls {}, rank {} calls {}", asks[0].words(), r, asks[r].words()));
    }
  }
  if (asks[0].kind != Ask::Kind::split) return perform(asks);
  std::map<int, int> sizes;
  for (const Ask& ask : asks) ++sizes[ask.color];
  for (const auto& [color, count] : sizes)
    meeting.parts[color] = std::make_shared<Clique>(count, timeout_);
}

bool Clique::collective(int rank, std::int64_t number, const Ask& ask,
                        hg::Clock::time_point since) {
  Lock lock(mutex_);
  throw_if_failed(lock);
  Meeting& meeting = meetings_[number];
  meeting.asks.resize(devices_.size());
  auto& own = meeting.asks[static_cast<std::size_t>(rank)];
  if (!own) {
    own = ask;
    if (++meeting.arrived == size()) {
      hold(lock, meeting);
      meeting.done = true;
    }
  }
  if (!meeting.done) {
    std::vector<int> missing;
    for (int r = 0; r < size(); ++r)
      if (!meeting.asks[static_cast<std::size_t>(r)]) missing.push_back(r);
    return wait_for(lock, rank, ask.words(), missing, since);
  }
  if (ask.kind != Ask::Kind::split && ++meeting.left == size()) meetings_.erase(number);
  return true;
}

std::pair<std::shared_ptr<Clique>, int> Clique::part_of(int rank, std::int64_t number) {
  Lock lock(mutex_);
  Meeting& meeting = meetings_.at(number);
  const Ask own = *meeting.asks[static_cast<std::size_t>(rank)];
  int its_rank = 0;  // those before: by key, then by rank
  for (int r = 0; r < size(); ++r) {
    const Ask& theirs = *meeting.asks[static_cast<std::size_t>(r)];
    if (theirs.color != own.color) continue;
    its_rank += theirs.key < own.key || (theirs.key == own.key && r < rank) ? 1 : 0;
  }
  std::shared_ptr<Clique> part = own.color < 0 ? nullptr : meeting.parts.at(own.color);
  if (++meeting.left == size()) meetings_.erase(number);
  return {part, its_rank};
}

void Clique::post(Lock& lock, int rank, const std::shared_ptr<Parcel>& parcel) {
  const bool sends = parcel->ask.kind == Ask::Kind::send;
  const int peer = parcel->ask.peer;
  const auto pair = sends ? std::pair(rank, peer) : std::pair(peer, rank);
  auto& waiting = (sends ? receives_ : sends_)[pair];
  if (waiting.empty()) return (sends ? sends_ : receives_)[pair].push_back(parcel);
  const std::shared_ptr<Parcel> other = waiting.front();
  waiting.pop_front();
  const Ask &sent = sends ? parcel->ask : other->ask, &expected = sends ? other->ask : parcel->ask;
  if (sent.count != expected.count || sent.type != expected.type ||
      (sent.recorded > 0) != (expected.recorded > 0)) {
    fail(lock, ncclInternalError,
         fmt::format("rank {} calls {} to rank {}, which calls {}", pair.first, sent.words(),
                     pair.second, expected.words()));
  }
  std::memmove(expected.out, sent.in, sent.count * size_of(sent.type));
  parcel->done = other->done = true;
}

bool Clique::exchange(int rank, const std::vector<Ask>& asks, Parcels& begun,
                      hg::Clock::time_point since) {
  Lock lock(mutex_);
  throw_if_failed(lock);
  if (begun.empty()) {
    for (const Ask& ask : asks) begun.push_back(std::make_shared<Parcel>(Parcel{.ask = ask}));
    for (const auto& parcel : begun) post(lock, rank, parcel);
  }
  const auto first =
      std::ranges::find(begun, false, [](const auto& parcel) { return parcel->done; });
  if (first == begun.end()) return true;
  return wait_for(lock, rank, (*first)->ask.words(), std::vector{(*first)->ask.peer}, since);
}

}  // namespace cuda_sim
