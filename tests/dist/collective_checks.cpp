#include "dist/collective_checks.h"

#include <cmath>
#include <limits>

#include "core/random.h"
#include "dist/comm_reduce.h"
#include "dist/values.h"

namespace hg::test {
namespace {

/// None, fewer than ranks, odd, more than a page, and more than an implementation moves at once.
constexpr std::int64_t kSizes[] = {0, 1, 2, 5, 1001, 40003, 300007};

/// What rank r brings: small integers, so that sums of a few are exact in bf16, too.
double value(int rank, std::int64_t i) { return static_cast<double>((i * 7 + rank * 13) % 17) - 8; }

double sum_of(const Comm& comm, std::int64_t i) {
  double sum = 0;
  for (int r = 0; r < comm.size(); ++r) sum += value(r, i);
  return sum;
}

double max_of(const Comm& comm, std::int64_t i) {
  double largest = value(0, i);
  for (int r = 1; r < comm.size(); ++r) largest = std::max(largest, value(r, i));
  return largest;
}

double nothing(std::int64_t) { return -99; }

void all_reduce(Comm& comm, DType dtype, Reduce reduce) {
  for (const std::int64_t n : kSizes) {
    const Values x(dtype, {n}, [&](std::int64_t i) { return value(comm.rank(), i); });
    comm.all_reduce(x, reduce, "check");
    x.expect(comm, [&](std::int64_t i) {
      return reduce == Reduce::sum ? sum_of(comm, i) : max_of(comm, i);
    });
  }
}

void reduce_scatter(Comm& comm, DType dtype) {
  for (const std::int64_t n : kSizes) {
    for (const bool in_place : {false, true}) {
      const Values in(dtype, {comm.size() * n},
                      [&](std::int64_t i) { return value(comm.rank(), i); });
      const Values apart(dtype, {n}, nothing);
      const Tensor own = in->rows(comm.rank() * n, (comm.rank() + 1) * n);
      comm.reduce_scatter(in_place ? own : apart, in);
      if (in_place) copy_bytes(apart->data(), own.data(), own.bytes());
      apart.expect(comm, [&](std::int64_t i) { return sum_of(comm, comm.rank() * n + i); });
    }
  }
}

void all_gather(Comm& comm, DType dtype) {
  for (const std::int64_t n : kSizes) {
    for (const bool in_place : {false, true}) {
      const Values in(dtype, {n}, [&](std::int64_t i) { return value(comm.rank(), i); });
      const Values out(dtype, {comm.size(), n}, nothing);
      const Tensor own = out->rows(comm.rank(), comm.rank() + 1);
      if (in_place) copy_bytes(own.data(), in->data(), own.bytes());
      comm.all_gather(out, in_place ? ConstTensor(own) : ConstTensor(in));
      out.expect(comm, [&](std::int64_t i) { return value(static_cast<int>(i / n), i % n); });
    }
  }
}

/// Rows from one rank to another: none from some, many from others.
std::int64_t rows(int from, int to, int scale) { return (from * 3 + to * 2) % 4 * scale; }

void all_to_all(Comm& comm, DType dtype) {
  for (const int scale : {0, 1, 1000}) {
    for (const std::int64_t width : {1, 3, 65}) {
      std::vector<std::int64_t> send, receive;
      std::int64_t sent = 0, received = 0;
      for (int r = 0; r < comm.size(); ++r) {
        sent += send.emplace_back(rows(comm.rank(), r, scale));
        received += receive.emplace_back(rows(r, comm.rank(), scale));
      }
      const Values in(dtype, {sent, width}, [&](std::int64_t i) { return value(comm.rank(), i); });
      const Values out(dtype, {received, width}, nothing);
      comm.all_to_all(out, receive, in, send);
      std::int64_t at = 0;
      for (int from = 0; from < comm.size(); ++from) {
        std::int64_t theirs = 0;  // where the rows for this rank begin in what `from` brought
        for (int to = 0; to < comm.rank(); ++to) theirs += rows(from, to, scale) * width;
        for (std::int64_t i = 0; i < rows(from, comm.rank(), scale) * width; ++i, ++at) {
          HG_CHECK(out.get(at) == value(from, theirs + i), "element {} is {}, expected {}", at,
                   out.get(at), value(from, theirs + i));
        }
      }
    }
  }
}

void broadcast(Comm& comm, DType dtype) {
  for (const std::int64_t n : kSizes) {
    for (int root = 0; root < comm.size(); ++root) {
      const Values x(dtype, {n}, [&](std::int64_t i) { return value(comm.rank(), i); });
      comm.broadcast(x, root);
      x.expect(comm, [&](std::int64_t i) { return value(root, i); });
    }
  }
}

/// Everyone sends to the next and receives from the one before, then from neighbour to neighbour.
void messages(Comm& comm, DType dtype) {
  const int n = comm.size(), next = (comm.rank() + 1) % n, before = (comm.rank() + n - 1) % n;
  for (const std::int64_t size : kSizes) {
    const Values in(dtype, {size}, [&](std::int64_t i) { return value(comm.rank(), i); });
    const Values out(dtype, {size}, nothing);
    comm.send_receive(in, next, out, before);
    out.expect(comm, [&](std::int64_t i) { return value(before, i); });
    // Two messages on the way: they arrive in order.
    const Values first(dtype, {size}, nothing), second(dtype, {3}, nothing);
    const Values two(dtype, {3}, [](std::int64_t i) { return static_cast<double>(i); });
    if (comm.rank() > 0) {
      comm.receive(first, before);
      comm.receive(second, before);
      first.expect(comm, [&](std::int64_t i) { return value(before, i); });
      second.expect(comm, [](std::int64_t i) { return static_cast<double>(i); });
    }
    if (comm.rank() + 1 < n) {
      comm.send(in, next);
      comm.send(two, next);
    }
  }
}

/// Values that do not add exactly: the bits must be those of ((x0 + x1) + x2) + ... in f32.
void order_of_sums(Comm& comm, DType dtype) {
  for (const std::int64_t n : {3, 1001, 70001}) {
    const auto drawn = [&](int rank, std::int64_t i) {
      const float x = RandomStream(1, fmt::format("rank {}", rank)).normal(std::uint64_t(i));
      return dtype == DType::bf16 ? static_cast<float>(bf16(x)) : x;
    };
    const auto expected = [&](std::int64_t i) {
      float sum = drawn(0, i);
      for (int r = 1; r < comm.size(); ++r) sum += drawn(r, i);
      return dtype == DType::bf16 ? static_cast<float>(bf16(sum)) : sum;
    };
    const auto own = [&](std::int64_t i) { return drawn(comm.rank(), i); };
    const Values x(dtype, {n}, own);
    comm.all_reduce(x, Reduce::sum);
    x.expect(comm, expected);
    const std::int64_t piece = n / comm.size();
    const Values all(dtype, {piece * comm.size()}, own), mine(dtype, {piece}, nothing);
    comm.reduce_scatter(mine, all);
    mine.expect(comm, [&](std::int64_t i) { return expected(comm.rank() * piece + i); });
  }
}

void maximum_keeps_nan(Comm& comm, DType dtype) {
  for (int culprit = 0; culprit < comm.size(); ++culprit) {
    const Values x(dtype, {3}, [&](std::int64_t i) {
      return i == 1 && comm.rank() == culprit ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    });
    comm.all_reduce(x, Reduce::max);
    HG_CHECK(x.get(0) == 1 && std::isnan(x.get(1)) && x.get(2) == 1,
             "the maximum with a NaN from rank {} is {}", culprit, x.get(1));
  }
}

/// Groups by parity in reverse order, one of them left out, and a group of the group.
void split(Comm& comm, DType dtype) {
  const auto half = comm.split(comm.rank() % 2, -comm.rank(), "half");
  HG_CHECK(half->name() == "half" && half->size() == (comm.size() + 1 - comm.rank() % 2) / 2,
           "{} has {} ranks", half->name(), half->size());
  const int largest = half->members().front();
  HG_CHECK(half->members()[static_cast<std::size_t>(half->rank())] == comm.rank() &&
               largest + 2 >= comm.size() && largest % 2 == comm.rank() % 2,
           "rank {} is {} of a group that {} leads", comm.rank(), half->rank(), largest);
  const Values x(dtype, {7}, [&](std::int64_t) { return comm.rank(); });
  half->all_reduce(x, Reduce::sum);
  double sum = 0;
  for (int r = comm.rank() % 2; r < comm.size(); r += 2) sum += r;
  x.expect(comm, [&](std::int64_t) { return sum; });

  const auto alone = half->split(half->rank(), 0, "alone");
  HG_CHECK(alone->size() == 1 && alone->members().front() == comm.rank(), "not alone");
  const auto first = comm.split(comm.rank() == 0 ? 5 : -1, 0, "first");
  HG_CHECK((first != nullptr) == (comm.rank() == 0), "a negative color got a group");
  comm.barrier("after split");
}

/// Bytes by the formulas in comm.h, where they divide without rest.
void counts(Comm& comm, DType dtype) {
  const auto world = comm.split(0, comm.rank(), "counted");
  const std::int64_t n = world->size(), numel = 60 * n, bytes = numel * size_of(dtype);
  const Values x(dtype, {numel}, [](std::int64_t) { return 1; });
  const Tensor piece = x->rows(0, 60);
  const Values other(dtype, {numel}, nothing);
  for (int twice = 0; twice < 2; ++twice) world->all_reduce(x, Reduce::sum);
  world->reduce_scatter(piece, other);
  world->all_gather(other, piece);
  const std::vector<std::int64_t> rows_each(static_cast<std::size_t>(n), 60);
  world->all_to_all(other, rows_each, x, rows_each);
  world->broadcast(x, 0);
  world->send_receive(x, (world->rank() + 1) % world->size(), other,
                      (world->rank() + world->size() - 1) % world->size());
  world->barrier();

  const std::int64_t others = (n - 1) * bytes / n;
  const bool last = world->rank() == world->size() - 1;
  const std::vector<std::tuple<CommKind, std::int64_t, std::int64_t>> expected = {
      {CommKind::all_reduce, 2, 2 * 2 * others},
      {CommKind::reduce_scatter, 1, others},
      {CommKind::all_gather, 1, others},
      {CommKind::all_to_all, 1, others},
      {CommKind::broadcast, 1, last ? 0 : bytes},
      {CommKind::send, 1, bytes},
      {CommKind::receive, 1, 0},
      {CommKind::barrier, 1, 0},
      {CommKind::split, 0, 0}};
  const CommCounts counted = world->counts();
  std::int64_t sum = 0;
  for (const auto& [kind, calls, sent] : expected) {
    HG_CHECK(counted[kind].calls == calls && counted[kind].bytes == sent,
             "{}: {} calls and {} bytes, expected {} and {}", name_of(kind), counted[kind].calls,
             counted[kind].bytes, calls, sent);
    sum += sent;
  }
  HG_CHECK(counted.total().bytes == sum && counted.total().calls == 9, "total");
}

}  // namespace

namespace {

void add(std::vector<CollectiveCheck>& checks, std::string_view name, DType dtype,
         std::function<void(Comm&, DType)> fn) {
  checks.push_back({fmt::format("{}_{}", name, name_of(dtype)),
                    [fn = std::move(fn), dtype](Comm& comm) { fn(comm, dtype); }});
}

}  // namespace

std::vector<CollectiveCheck> collective_checks() {
  std::vector<CollectiveCheck> checks;
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32}) {
    add(checks, "all_reduce_sum", dtype, [](Comm& c, DType d) { all_reduce(c, d, Reduce::sum); });
    add(checks, "all_reduce_max", dtype, [](Comm& c, DType d) { all_reduce(c, d, Reduce::max); });
    add(checks, "reduce_scatter", dtype, reduce_scatter);
    add(checks, "all_gather", dtype, all_gather);
    add(checks, "all_to_all", dtype, all_to_all);
    add(checks, "broadcast", dtype, broadcast);
    add(checks, "messages", dtype, messages);
    add(checks, "split", dtype, split);
    add(checks, "counts", dtype, counts);
  }
  return checks;
}

std::vector<CollectiveCheck> host_checks() {
  std::vector<CollectiveCheck> checks;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    add(checks, "order_of_sums", dtype, order_of_sums);
    add(checks, "maximum_keeps_nan", dtype, maximum_keeps_nan);
  }
  return checks;
}

}  // namespace hg::test
