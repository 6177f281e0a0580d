#include "dist/link_probe.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/clock.h"
#include "dist/gather_rows.h"

namespace hg {
namespace {

constexpr std::string_view kLabel = "measuring";
constexpr int kRoundTrips = 20, kTries = 4;

double system_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// A number that a message can carry.
struct Stamp {
  double value = 0;
  std::array<std::int32_t, 2> words{};

  Tensor tensor() { return {words.data(), DType::i32, {2}}; }
  void pack() { std::memcpy(words.data(), &value, sizeof value); }
  void unpack() { std::memcpy(&value, words.data(), sizeof value); }
};

/// Rank 0's side of the round trips with one rank; the shortest tells most.
ClockOffset compare_clock(Comm& world, int with) {
  ClockOffset best{0, std::numeric_limits<double>::infinity()};
  Stamp stamp;
  for (int i = 0; i < kRoundTrips; ++i) {
    const double sent = system_seconds();
    world.send(stamp.tensor(), with, kLabel);
    world.receive(stamp.tensor(), with, kLabel);
    const double came = system_seconds();
    stamp.unpack();
    if ((came - sent) / 2 < best.uncertainty)
      best = {.seconds = stamp.value - (sent + came) / 2, .uncertainty = (came - sent) / 2};
  }
  return best;
}

void answer_clock(Comm& world) {
  Stamp stamp;
  for (int i = 0; i < kRoundTrips; ++i) {
    world.receive(stamp.tensor(), 0, kLabel);
    stamp.value = system_seconds();
    stamp.pack();
    world.send(stamp.tensor(), 0, kLabel);
  }
}

double measure_latency(Comm& world, int partner) {
  std::int32_t word = 0;
  const Tensor message(&word, DType::i32, {1});
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kRoundTrips; ++i) {
    const auto start = Clock::now();
    if (world.rank() < partner) {
      world.send(message, partner, kLabel);
      world.receive(message, partner, kLabel);
    } else {
      world.receive(message, partner, kLabel);
      world.send(message, partner, kLabel);
    }
    best = std::min(best, seconds_since(start) / 2);
  }
  return best;
}

/// Seconds of the best exchange of `in` and `out`.
double measure_exchange(Comm& world, int partner, const Tensor& out, const Tensor& in) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kTries; ++i) {
    const auto start = Clock::now();
    world.send_receive(in, partner, out, partner, kLabel);
    if (i > 0) best = std::min(best, seconds_since(start));  // the first touches memory
  }
  return best;
}

/// Calls fn until about `seconds` are over, equally often on all ranks, each beginning together;
/// returns the seconds of one call on the slowest rank.
template <class Fn>
double time_calls(Comm& world, double seconds, Fn&& fn) {
  const auto time = [&](int calls) {
    world.barrier(kLabel);
    const auto start = Clock::now();
    for (int i = 0; i < calls; ++i) fn();
    auto taken = static_cast<float>(seconds_since(start) / calls);
    world.all_reduce(Tensor(&taken, DType::f32, {1}), Reduce::max, kLabel);
    return static_cast<double>(taken);
  };
  const double once = time(1);
  const double more = std::min(std::floor(seconds / once), 1000.0);
  return more < 2 ? once : time(static_cast<int>(more));
}

}  // namespace

std::vector<ClockOffset> measure_clocks(Comm& world) {
  if (world.rank() > 0) {
    answer_clock(world);
    return {};
  }
  std::vector<ClockOffset> offsets = {{0, 0}};
  for (int r = 1; r < world.size(); ++r) offsets.push_back(compare_clock(world, r));
  return offsets;
}

int tournament_rounds(int size) { return size % 2 == 0 ? size - 1 : size; }

int tournament_partner(int rank, int size, int round) {
  // The circle method: one of an even number stays, the others meet whom they make `round` with.
  const int turning = tournament_rounds(size);
  const auto other = [&](int r) { return (round - r % turning + turning) % turning; };
  int partner = turning;
  if (rank < turning) {
    if (other(rank) != rank) partner = other(rank);
  } else {
    for (partner = 0; other(partner) != partner;) ++partner;
  }
  return partner < size ? partner : -1;
}

std::vector<PairLink> measure_pairs(Comm& world, std::int64_t bytes) {
  const int n = world.size();
  const auto size = static_cast<std::size_t>(n);
  std::vector<float> in(static_cast<std::size_t>(bytes) / sizeof(float)), out(in.size());
  const auto tensor = [](std::vector<float>& values) {
    return Tensor(values.data(), DType::f32, {std::ssize(values)});
  };
  std::vector<float> own(2 * size);  // latency and seconds, by partner
  for (int round = 0; round < tournament_rounds(n); ++round) {
    const int partner = tournament_partner(world.rank(), n, round);
    if (partner < 0) continue;
    const auto place = 2 * static_cast<std::size_t>(partner);
    own[place] = static_cast<float>(measure_latency(world, partner));
    own[place + 1] = static_cast<float>(measure_exchange(world, partner, tensor(out), tensor(in)));
  }
  const auto all = gather_rows<float>(world, own, kLabel);
  std::vector<PairLink> pairs;
  for (std::size_t a = 0; a < size; ++a) {
    for (std::size_t b = a + 1; b < size; ++b) {
      const float* of_a = all.data() + 2 * (a * size + b);
      const float* of_b = all.data() + 2 * (b * size + a);
      pairs.push_back({.a = static_cast<int>(a),
                       .b = static_cast<int>(b),
                       .latency = of_a[0],  // the one that began
                       .bandwidth = static_cast<double>(std::ssize(in)) * sizeof(float) /
                                    std::max(of_a[1], of_b[1])});
    }
  }
  return pairs;
}

std::vector<CollectiveSpeed> measure_collectives(Comm& world, std::int64_t bytes, double seconds) {
  const std::int64_t n = world.size();
  const std::int64_t part = std::max<std::int64_t>(1, bytes / n / std::int64_t{sizeof(float)});
  std::vector<float> a(static_cast<std::size_t>(n * part)), b(a.size());
  const Tensor whole(a.data(), DType::f32, {n, part}), other(b.data(), DType::f32, {n, part});
  const Tensor piece = other.slice(0, 0, 1);
  const std::vector<std::int64_t> one_row(static_cast<std::size_t>(n), 1);
  std::vector<CollectiveSpeed> speeds;
  const auto measure = [&](CommKind kind, auto&& call) {
    const std::int64_t before = world.counts()[kind].bytes;
    call();  // touches memory, opens connections
    const auto sent = static_cast<double>(world.counts()[kind].bytes - before);
    speeds.push_back({.kind = kind,
                      .bytes = whole.bytes(),
                      .seconds = time_calls(world, seconds, call),
                      .sent = sent});
  };
  measure(CommKind::all_reduce, [&] { world.all_reduce(whole, Reduce::sum, kLabel); });
  measure(CommKind::all_gather, [&] { world.all_gather(whole, piece, kLabel); });
  measure(CommKind::reduce_scatter, [&] { world.reduce_scatter(piece, whole, kLabel); });
  measure(CommKind::all_to_all, [&] { world.all_to_all(other, one_row, whole, one_row, kLabel); });
  return speeds;
}

}  // namespace hg
