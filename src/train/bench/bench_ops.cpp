#include "train/bench/bench_ops.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/clock.h"
#include "core/context.h"
#include "core/random.h"
#include "ops/grouped_linear.h"
#include "ops/linear.h"
#include "train/bench/bench_moe.h"

namespace hg {
namespace {

constexpr BenchExperts kSizes[] = {
    {"top-2 of 8, hidden 256, width 352", 4096, 2, 8, 256, 352},
    {"top-8 of 64, hidden 512, width 128", 4096, 8, 64, 512, 128},
};

enum class Load { even, skewed, one };
constexpr std::pair<Load, std::string_view> kLoads[] = {
    {Load::even, "even"}, {Load::skewed, "skewed"}, {Load::one, "one expert"}};

/// Rows of each expert. Skewed loads are proportional to e^z with normal z.
std::vector<std::int32_t> offsets_of(Load load, std::int64_t rows, std::int64_t experts) {
  const RandomStream stream(1, "bench experts");
  std::vector<double> shares(static_cast<std::size_t>(experts));
  for (std::size_t e = 0; e < shares.size(); ++e) {
    const double z = double{stream.normal(e)};
    shares[e] = load == Load::one ? (e == shares.size() / 2 ? 1 : 0)
                                  : std::exp(load == Load::skewed ? z : 0.03 * z);
  }
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<std::int32_t> offsets{0};
  double sum = 0;
  for (const double share : shares) {
    sum += share;
    offsets.push_back(
        static_cast<std::int32_t>(std::lround(sum / total * static_cast<double>(rows))));
  }
  return offsets;
}

template <class Op>
double seconds_of(Context& ctx, const Op& op) {
  const auto start = Clock::now();
  run(ctx, op);
  return seconds_since(start);
}

/// Grouped and dense operands of one product, y [R, N] = x [R, K] weight^T.
class Products {
 public:
  Products(const CpuInfo& cpu, DType dtype, std::int64_t experts, std::int64_t rows, std::int64_t n,
           std::int64_t k) {
    ctx_.cpu = cpu;
    ctx_.device = Device::meta;
    lay_out(dtype, experts, rows, n, k);
    for_ops([&](const auto& op, const auto& dense) { run(ctx_, op), run(ctx_, dense); });
    memory_.release(0);
    memory_.reserve(memory_.high_water());
    ctx_.scratch.reserve(ctx_.scratch.high_water());
    ctx_.device = Device::cpu;
    lay_out(dtype, experts, rows, n, k);  // of zeros: the processor does not care
  }

  /// Appends a timing of each op under this load; `what` has its words.
  void measure(std::span<const std::int32_t> offsets, int rounds, const OpTiming& what,
               std::vector<OpTiming>& timings) {
    std::ranges::copy(offsets, offsets_.as<std::int32_t>());
    for_ops([&](const auto& op, const auto& dense) {
      OpTiming timing = what;
      timing.op = op.name;
      timing.flops = op.cost().flops;
      run(ctx_, op), run(ctx_, dense);
      timing.seconds = seconds_of(ctx_, op), timing.dense_seconds = seconds_of(ctx_, dense);
      for (int round = 1; round < rounds; ++round) {
        timing.seconds = std::min(timing.seconds, seconds_of(ctx_, op));
        timing.dense_seconds = std::min(timing.dense_seconds, seconds_of(ctx_, dense));
      }
      timings.push_back(timing);
    });
  }

 private:
  void lay_out(DType dtype, std::int64_t experts, std::int64_t rows, std::int64_t n,
               std::int64_t k) {
    const auto allocate = [&](std::string_view label, DType type, const Shape& shape) {
      return memory_.allocate(label, type, shape);
    };
    x_ = allocate("x", dtype, {rows, k}), dx_ = allocate("dx", dtype, {rows, k});
    y_ = allocate("y", dtype, {rows, n}), dy_ = allocate("dy", dtype, {rows, n});
    weight_ = allocate("weight", dtype, {experts, n, k});
    dweight_ = allocate("dweight", DType::f32, {experts, n, k});
    offsets_ = allocate("offsets", DType::i32, {experts + 1});
  }

  template <class Fn>
  void for_ops(Fn&& fn) const {
    const Shape matrix{weight_.dim(1), weight_.dim(2)};
    const ConstTensor weight = weight_.rows(0, 1).view(matrix);
    const Tensor dweight = dweight_.rows(0, 1).view(matrix);
    fn(GroupedLinearForward{.y = y_, .x = x_, .weight = weight_, .offsets = offsets_},
       LinearForward{.y = y_, .x = x_, .weight = weight});
    fn(GroupedLinearBackwardInput{.dx = dx_, .dy = dy_, .weight = weight_, .offsets = offsets_},
       LinearBackwardInput{.dx = dx_, .dy = dy_, .weight = weight});
    fn(
        GroupedLinearBackwardWeight{
            .dweight = dweight_, .dy = dy_, .x = x_, .offsets = offsets_, .accumulate = false},
        LinearBackwardWeight{.dweight = dweight, .dy = dy_, .x = x_, .accumulate = false});
  }

  Context ctx_;
  Arena memory_{"bench operands"};
  Tensor x_, dx_, y_, dy_, weight_, dweight_, offsets_;
};

}  // namespace

std::vector<OpTiming> bench_op(std::string_view op, const CpuInfo& cpu, DType dtype, int rounds) {
  HG_CHECK(op == "grouped_linear" || op == "moe", "bench op '{}', expected grouped_linear or moe",
           op);
  std::vector<OpTiming> timings;
  for (const BenchExperts& size : kSizes) {
    if (op == "moe") {
      timings.push_back(bench_moe(size, cpu, dtype, rounds));
      continue;
    }
    const std::int64_t rows = size.tokens * size.top_k;
    for (const auto& [part, n, k] : {std::tuple{"gate and up", 2 * size.width, size.hidden},
                                     std::tuple{"down", size.hidden, size.width}}) {
      Products products(cpu, dtype, size.experts, rows, n, k);
      for (const auto& [load, load_name] : kLoads) {
        const OpTiming what{.size = fmt::format("{}: {}", size.name, part),
                            .load = std::string(load_name),
                            .op = {},
                            .seconds = 0,
                            .dense_seconds = 0,
                            .flops = 0};
        products.measure(offsets_of(load, rows, size.experts), rounds, what, timings);
      }
    }
  }
  return timings;
}

}  // namespace hg
