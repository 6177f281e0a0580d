#include "ops/inspect_activations.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>

#include "ops/cpu/isa.h"

namespace hg {
namespace {

constexpr std::int64_t kExact = std::int64_t{1} << 24;  // as far as f32 counts exactly

}  // namespace

void Magnitudes::check() const {
  HG_CHECK(x.rank() == 2, "{}: x is {}, expected [T, C]", name, x.shape().to_string());
  HG_CHECK(x.dtype() != DType::i32, "{}: x is i32, expected f32 or bf16", name);
  check_slice(name, "x", x, x.shape(), x.dtype());
  check_contiguous(name, "out", out, {kStatistics}, DType::f32);
  HG_CHECK(x.dim(0) <= kExact && x.dim(1) <= kExact,
           "{}: x is {}, expected at most 2^24 along each axis, as far as f32 counts exactly", name,
           x.shape().to_string());
}

Cost Magnitudes::cost() const {
  return {.flops = 3.0 * static_cast<double>(x.numel()), .bytes = static_cast<double>(x.bytes())};
}

Tensor Magnitudes::scratch(Context& ctx) const {
  const std::int64_t pieces = (x.dim(0) + kRowsPerPiece - 1) / kRowsPerPiece;
  return ctx.scratch.allocate("magnitudes of pieces", DType::f32, {pieces, sizeof(Partial) / 4});
}

void Magnitudes::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void JoinMagnitudes::check() const {
  HG_CHECK(parts.rank() == 2 && parts.dim(0) > 0, "{}: parts is {}, expected [n, {}]", name,
           parts.shape().to_string(), int{Magnitudes::kStatistics});
  check_contiguous(name, "parts", parts, {parts.dim(0), Magnitudes::kStatistics}, DType::f32);
  check_contiguous(name, "out", out, {Magnitudes::kStatistics}, DType::f32);
  HG_CHECK(
      (tokens == 0) != (channels == 0) && (tokens + channels) * parts.dim(0) <= kExact,
      "{}: {} parts that begin {} tokens and {} channels behind each other, expected 0 of one, "
      "and at most 2^24 of the other in all",
      name, parts.dim(0), tokens, channels);
}

Cost JoinMagnitudes::cost() const {
  return {.flops = 2.0 * static_cast<double>(parts.numel()),
          .bytes = static_cast<double>(parts.bytes())};
}

void JoinMagnitudes::cpu(Context&) const {
  using M = Magnitudes;
  constexpr std::array kMeans{M::kMean, M::kRms, M::kShareBelow1e2, M::kShareBelow1e3};
  std::array<double, kMeans.size()> sums{};
  double finite = 0, non_finite = 0;
  std::tuple largest{-1.0F, 0.0F, 0.0F};  // what it is, and the negatives of where: the first wins
  for (std::int64_t i = 0; i < parts.dim(0); ++i) {
    const float* part = parts.as<float>() + i * M::kStatistics;
    non_finite += double{part[M::kNonFinite]};
    if (std::isnan(part[M::kMax])) continue;  // no element is finite
    const double count = static_cast<double>(elements) - double{part[M::kNonFinite]};
    finite += count;
    for (std::size_t k = 0; k < kMeans.size(); ++k) {
      const double mean = part[kMeans[k]];
      sums[k] += count * (kMeans[k] == M::kRms ? mean * mean : mean);
    }
    largest = std::max(largest, {part[M::kMax], -part[M::kToken] - static_cast<float>(i * tokens),
                                 -part[M::kChannel] - static_cast<float>(i * channels)});
  }
  auto* to = out.as<float>();
  to[M::kNonFinite] = static_cast<float>(non_finite);
  if (finite == 0) {
    std::fill_n(to, M::kNonFinite, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const auto [max, token, channel] = largest;
  to[M::kMax] = max;
  to[M::kToken] = 0 - token;
  to[M::kChannel] = 0 - channel;
  for (std::size_t k = 0; k < kMeans.size(); ++k) {
    const double mean = sums[k] / finite;
    to[kMeans[k]] = static_cast<float>(kMeans[k] == M::kRms ? std::sqrt(mean) : mean);
  }
}

}  // namespace hg
