#include "dist/comm.h"

#include <exception>
#include <numeric>

#include "core/clock.h"
#include "dist/comm_reduce.h"

namespace hg {
namespace {

void check_operand(CommKind kind, const char* name, const ConstTensor& x) {
  HG_CHECK(x || x.numel() == 0, "{}: operand '{}' is missing", name_of(kind), name);
  HG_CHECK(x.contiguous(), "{}: operand '{}' {} is a slice, expected a contiguous tensor",
           name_of(kind), name, x.shape().to_string());
}

/// Throws unless `whole` has n times the elements of `piece`, and the same type.
void check_pieces(CommKind kind, const ConstTensor& whole, const ConstTensor& piece, int n) {
  HG_CHECK(whole.numel() == n * piece.numel() && whole.dtype() == piece.dtype(),
           "{}: {} {} is not {} times {} {}", name_of(kind), name_of(whole.dtype()),
           whole.shape().to_string(), n, name_of(piece.dtype()), piece.shape().to_string());
}

void check_rows(const char* name, const ConstTensor& x, std::span<const std::int64_t> rows, int n) {
  check_operand(CommKind::all_to_all, name, x);
  HG_CHECK(x.rank() >= 1, "all_to_all: operand '{}' has no rows", name);
  HG_CHECK(rows.size() == static_cast<std::size_t>(n),
           "all_to_all: {} counts for '{}', expected one for each of {} ranks", rows.size(), name,
           n);
  for (const std::int64_t count : rows)
    HG_CHECK(count >= 0, "all_to_all: a count of {} rows for '{}'", count, name);
  const std::int64_t sum = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  HG_CHECK(sum == x.dim(0), "all_to_all: the counts for '{}' make {} rows, the tensor has {}", name,
           sum, x.dim(0));
}

void check_rank(CommKind kind, const char* name, int rank, const Comm& comm) {
  HG_CHECK(0 <= rank && rank < comm.size(), "{}: {} {} of {}, which has {} ranks", name_of(kind),
           name, rank, comm.name(), comm.size());
}

}  // namespace

/// Counts a call, and stands in the flight record while it lives.
class Comm::Call {
 public:
  Call(Comm& comm, CommKind kind, const ConstTensor& x, std::int64_t bytes, std::string_view label,
       int peer = -1)
      : comm_(comm), record_(*comm.record_), exceptions_(std::uncaught_exceptions()) {
    AtomicCount& count = comm.counts_[static_cast<std::size_t>(kind)];
    count.calls.fetch_add(1, std::memory_order_relaxed);
    count.bytes.fetch_add(bytes, std::memory_order_relaxed);
    const auto& members = *comm.members_;
    const int self = members[static_cast<std::size_t>(comm.rank_)];
    const int other = peer < 0 ? -1 : members[static_cast<std::size_t>(peer)];
    const bool sends = kind == CommKind::send;
    const std::uint64_t channel =
        peer < 0 ? channel_of(comm.name_, members)
                 : channel_of(comm.name_, members, sends ? self : other, sends ? other : self);
    id_ = record_.enter({.kind = kind,
                         .group = comm.name_,
                         .members = comm.members_,
                         .peer = other,
                         .channel = channel,
                         .sequence = 0,
                         .label = std::string(label),
                         .elements = x ? x.numel() : 0,
                         .dtype = x.dtype(),
                         .entered = {},
                         .left = {},
                         .finished = false});
  }
  ~Call() {
    record_.leave(id_, std::uncaught_exceptions() == exceptions_);
    comm_.nanoseconds_ += (Clock::now() - start_) / std::chrono::nanoseconds(1);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

 private:
  Comm& comm_;
  FlightRecord& record_;
  const Clock::time_point start_ = Clock::now();
  int exceptions_;
  std::int64_t id_;
};

CommCount CommCounts::total() const {
  CommCount sum;
  for (const CommCount& count : by_kind) {
    sum.calls += count.calls;
    sum.bytes += count.bytes;
  }
  return sum;
}

Comm::Comm(Identity identity)
    : rank_(identity.rank),
      name_(std::move(identity.name)),
      members_(std::make_shared<const std::vector<int>>(std::move(identity.members))),
      record_(std::move(identity.record)) {}

void Comm::all_reduce(const Tensor& x, Reduce reduce, std::string_view label) {
  check_operand(CommKind::all_reduce, "x", x);
  const Call call(*this, CommKind::all_reduce, x, 2 * (size() - 1) * x.bytes() / size(), label);
  do_all_reduce(x, reduce);
}

void Comm::reduce_scatter(const Tensor& out, const ConstTensor& in, std::string_view label) {
  check_operand(CommKind::reduce_scatter, "out", out);
  check_operand(CommKind::reduce_scatter, "in", in);
  check_pieces(CommKind::reduce_scatter, in, out, size());
  const Call call(*this, CommKind::reduce_scatter, in, (size() - 1) * out.bytes(), label);
  do_reduce_scatter(out, in);
}

void Comm::all_gather(const Tensor& out, const ConstTensor& in, std::string_view label) {
  check_operand(CommKind::all_gather, "out", out);
  check_operand(CommKind::all_gather, "in", in);
  check_pieces(CommKind::all_gather, out, in, size());
  const Call call(*this, CommKind::all_gather, out, (size() - 1) * in.bytes(), label);
  do_all_gather(out, in);
}

void Comm::all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                      const ConstTensor& in, std::span<const std::int64_t> send_rows,
                      std::string_view label) {
  check_rows("out", out, receive_rows, size());
  check_rows("in", in, send_rows, size());
  HG_CHECK(out.dtype() == in.dtype() && row_bytes(out) == row_bytes(in),
           "all_to_all: rows of {} {} are not rows of {} {}", name_of(out.dtype()),
           out.shape().to_string(), name_of(in.dtype()), in.shape().to_string());
  const auto self = static_cast<std::size_t>(rank_);
  HG_CHECK(receive_rows[self] == send_rows[self],
           "all_to_all: rank {} sends itself {} rows and receives {}", rank_, send_rows[self],
           receive_rows[self]);
  const std::int64_t others = in.dim(0) - send_rows[self];
  const Call call(*this, CommKind::all_to_all, in, others * row_bytes(in), label);
  do_all_to_all(out, receive_rows, in, send_rows);
}

void Comm::broadcast(const Tensor& x, int root, std::string_view label) {
  check_operand(CommKind::broadcast, "x", x);
  check_rank(CommKind::broadcast, "root", root, *this);
  const bool last = (rank_ + 1) % size() == root;
  const Call call(*this, CommKind::broadcast, x, last ? 0 : x.bytes(), label);
  do_broadcast(x, root);
}

void Comm::send(const ConstTensor& in, int to, std::string_view label) {
  check_operand(CommKind::send, "in", in);
  check_rank(CommKind::send, "to rank", to, *this);
  const Call call(*this, CommKind::send, in, in.bytes(), label, to);
  do_send_receive(in, to, {}, -1);
}

void Comm::receive(const Tensor& out, int from, std::string_view label) {
  check_operand(CommKind::receive, "out", out);
  check_rank(CommKind::receive, "from rank", from, *this);
  const Call call(*this, CommKind::receive, out, 0, label, from);
  do_send_receive({}, -1, out, from);
}

void Comm::send_receive(const ConstTensor& in, int to, const Tensor& out, int from,
                        std::string_view label) {
  check_operand(CommKind::send, "in", in);
  check_operand(CommKind::receive, "out", out);
  check_rank(CommKind::send, "to rank", to, *this);
  check_rank(CommKind::receive, "from rank", from, *this);
  const Call sending(*this, CommKind::send, in, in.bytes(), label, to);
  const Call receiving(*this, CommKind::receive, out, 0, label, from);
  do_send_receive(in, to, out, from);
}

void Comm::barrier(std::string_view label) {
  const Call call(*this, CommKind::barrier, {}, 0, label);
  do_barrier();
}

std::unique_ptr<Comm> Comm::split(int color, int key, std::string name) {
  const Call call(*this, CommKind::split, {}, 0, name);
  return do_split(color, key, std::move(name));
}

CommCounts Comm::counts() const {
  CommCounts counts;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts.by_kind[i] = {.calls = counts_[i].calls.load(std::memory_order_relaxed),
                         .bytes = counts_[i].bytes.load(std::memory_order_relaxed)};
  }
  return counts;
}

}  // namespace hg
