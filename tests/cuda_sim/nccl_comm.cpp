#include "cuda_sim/nccl_comm.h"

#include <map>

#include "core/check.h"
#include "cuda_sim/kernel.h"
#include "cuda_sim/machine.h"

namespace cuda_sim {

Member::Member(std::shared_ptr<Clique> clique, int rank, int device, bool blocking)
    : clique_(std::move(clique)), rank_(rank), device_(device), blocking_(blocking) {}

void Member::note(const NcclFailure& failure) {
  const std::scoped_lock lock(mutex_);
  if (state_ != ncclSuccess) return;
  state_ = failure.code;
  words_ = failure.what();
}

bool Member::try_work(const std::function<bool()>& work) {
  if (aborted_) return true;
  try {
    return work();
  } catch (const NcclFailure& failure) {
    note(failure);
    return true;
  }
}

void Member::queue(cudaStream_t stream, const std::vector<Ask>& asks,
                   const std::function<std::function<bool()>(const std::vector<Ask>&)>& begin) {
  Device& its_device = *machine().devices.at(static_cast<std::size_t>(device_));
  stream = its_device.stream_of(stream);
  const auto work_of = [self = shared_from_this(), begin](const std::vector<Ask>& its_asks) {
    ++self->queued_;
    return Work([self, work = begin(its_asks)] {
      const bool done = self->try_work(work);
      if (done) --self->queued_;
      return done;
    });
  };
  if (!stream->capture) {
    its_device.enqueue(stream, work_of(asks));
    return;
  }
  if (check_capture(stream) != cudaSuccess)
    return note({ncclUnhandledCudaError, Simulation::explanation()});
  std::vector<Ask> recorded = asks;
  Operands operands{.kind = "call of NCCL", .values = {bytes_of(this)}};
  for (Ask& ask : recorded) {
    for (const auto& value :
         {bytes_of(ask.kind), bytes_of(ask.in), bytes_of(ask.out), bytes_of(ask.count),
          bytes_of(ask.type), bytes_of(ask.op), bytes_of(ask.root), bytes_of(ask.peer)})
      operands.values.push_back(value);
    ask.recorded = ++recorded_;
  }
  ++recordings_;
  const std::shared_ptr<void> reference(
      nullptr, [self = shared_from_this()](void*) { --self->recordings_; });
  its_device.record(
      stream, [work_of, recorded, reference] { return work_of(recorded); }, std::move(operands));
}

void Member::enqueue(std::vector<std::pair<cudaStream_t, Ask>> calls) {
  using Time = hg::Clock::time_point;
  std::map<cudaStream_t, std::vector<Ask>> exchanges;
  for (const auto& [stream, ask] : calls) {
    if (ask.count == 0) continue;
    if (ask.peer >= 0) {
      exchanges[stream].push_back(ask);
      continue;
    }
    queue(stream, {ask}, [this](const std::vector<Ask>& its) {
      return [this, ask = its.front(), number = next_number(), since = Time{}]() mutable {
        if (since == Time{}) since = hg::Clock::now();
        return clique_->collective(rank_, number, ask, since);
      };
    });
  }
  for (const auto& [stream, asks] : exchanges) {
    queue(stream, asks, [this](const std::vector<Ask>& its) {
      return [this, its, begun = Clique::Parcels(), since = Time{}]() mutable {
        if (since == Time{}) since = hg::Clock::now();
        return clique_->exchange(rank_, its, begun, since);
      };
    });
  }
}

void Member::begin(std::function<bool()> pending) { pending_ = std::move(pending); }

ncclResult_t Member::state() {
  if (pending_) {
    if (!try_work(pending_)) return ncclInProgress;
    pending_ = nullptr;
  }
  try_work([&] {
    clique_->throw_if_failed();
    return true;
  });
  const std::scoped_lock lock(mutex_);
  return state_;
}

std::string Member::words() const {
  const std::scoped_lock lock(mutex_);
  return words_;
}

void Member::abort() {
  aborted_ = true;
  clique_->fail(ncclRemoteError, fmt::format("rank {} has aborted", rank_));
}

}  // namespace cuda_sim
