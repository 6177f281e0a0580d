#include "dist/thread_group.h"

#include "dist/comm_reduce.h"

namespace hg {
namespace {

/// All that must be the same on every rank.
std::string words(const ThreadOffer& offer) {
  std::string text(name_of(offer.kind));
  if (offer.kind == CommKind::barrier || offer.kind == CommKind::split) return text;
  text += fmt::format(" of {} {}", offer.elements, name_of(offer.dtype));
  if (offer.kind == CommKind::all_reduce) text += offer.reduce == Reduce::sum ? ", sum" : ", max";
  if (offer.kind == CommKind::broadcast) text += fmt::format(" from {}", offer.root);
  return text;
}

}  // namespace

ThreadGroup::ThreadGroup(std::shared_ptr<ThreadWorld> its_world, std::string its_name,
                         std::vector<int> its_members)
    : world(std::move(its_world)),
      name(std::move(its_name)),
      members(std::move(its_members)),
      offers_(members.size()) {}

void ThreadGroup::collective(int rank, const ThreadOffer& offer,
                             const std::function<void()>& work) {
  meet(rank, offer);
  const std::string problem = disagreement();
  if (problem.empty()) work();
  meet_again();
  HG_CHECK(problem.empty(), "{}", problem);
}

void ThreadGroup::meet(int rank, const ThreadOffer& offer) {
  Lock lock(world->mutex);
  world->throw_if_stopped(world_rank(rank));
  offers_[static_cast<std::size_t>(rank)] = offer;
  const std::uint64_t meeting = meetings_;
  if (arrive()) return;
  world->changed.wait(
      lock, [&] { return meetings_ != meeting || world->stopped[world_rank(rank)].has_value(); });
  if (meetings_ != meeting) return;
  --arrived_;
  world->throw_if_stopped(world_rank(rank));
}

void ThreadGroup::meet_again() {
  Lock lock(world->mutex);
  const std::uint64_t meeting = meetings_;
  if (!arrive()) world->changed.wait(lock, [&] { return meetings_ != meeting; });
}

/// True for the last one, who lets all go on.
bool ThreadGroup::arrive() {
  if (++arrived_ < members.size()) return false;
  arrived_ = 0;
  ++meetings_;
  world->changed.notify_all();
  return true;
}

std::string ThreadGroup::disagreement() const {
  for (std::size_t r = 1; r < members.size(); ++r) {
    if (words(offers_[r]) != words(offers_[0])) {
      return fmt::format("{}: rank {} calls {}, rank {} calls {}", name, members[0],
                         words(offers_[0]), members[r], words(offers_[r]));
    }
  }
  return offers_[0].kind == CommKind::all_to_all ? row_disagreement() : std::string();
}

std::string ThreadGroup::row_disagreement() const {
  for (std::size_t from = 0; from < members.size(); ++from) {
    for (std::size_t to = 0; to < members.size(); ++to) {
      const std::int64_t sent = offers_[from].send_rows[to];
      const std::int64_t expected = offers_[to].receive_rows[from];
      if (sent != expected) {
        return fmt::format("{}: rank {} sends {} rows to rank {}, which expects {}", name,
                           members[from], sent, members[to], expected);
      }
    }
  }
  return {};
}

void ThreadGroup::send_receive(int rank, const ConstTensor& in, int to, const Tensor& out,
                               int from) {
  Lock lock(world->mutex);
  world->throw_if_stopped(world_rank(rank));
  Parcel parcel{.tensor = &in, .state = Parcel::State::waiting};
  if (to >= 0) {
    parcels_[{rank, to}] = &parcel;
    world->changed.notify_all();
  }
  std::string problem;
  const bool received = from < 0 || take(lock, rank, out, from, problem);
  if (to >= 0) deliver(lock, rank, parcel, to);
  if (!received) world->throw_if_stopped(world_rank(rank));
  HG_CHECK(problem.empty(), "{}", problem);
}

/// Waits for the parcel of rank `from` and copies it; false if this rank is stopped before.
bool ThreadGroup::take(Lock& lock, int rank, const Tensor& out, int from, std::string& problem) {
  const std::pair key(from, rank);
  world->changed.wait(
      lock, [&] { return parcels_.contains(key) || world->stopped[world_rank(rank)].has_value(); });
  const auto found = parcels_.extract(key);
  if (!found) return false;
  Parcel& parcel = *found.mapped();
  const ConstTensor& in = *parcel.tensor;
  parcel.state = Parcel::State::claimed;
  if (in.numel() == out.numel() && in.dtype() == out.dtype()) {
    lock.unlock();
    copy_bytes(out.data(), in.data(), out.bytes());
    lock.lock();
  } else {
    problem = fmt::format("{}: rank {} sends {} {}, rank {} expects {} {}", name,
                          members[static_cast<std::size_t>(from)], in.numel(), name_of(in.dtype()),
                          world_rank(rank), out.numel(), name_of(out.dtype()));
  }
  parcel.state = Parcel::State::taken;
  world->changed.notify_all();
  return true;
}

/// Waits until the receiver has the parcel. If this rank is stopped before the receiver begins, it
/// takes the parcel back and throws.
void ThreadGroup::deliver(Lock& lock, int rank, Parcel& parcel, int to) {
  world->changed.wait(lock, [&] {
    return parcel.state == Parcel::State::taken ||
           (parcel.state == Parcel::State::waiting && world->stopped[world_rank(rank)]);
  });
  if (parcel.state == Parcel::State::taken) return;
  parcels_.erase({rank, to});
  world->throw_if_stopped(world_rank(rank));
}

}  // namespace hg
