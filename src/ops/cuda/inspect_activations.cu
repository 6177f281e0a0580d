// CUDA bodies of ops/inspect_activations.h: a block for every piece of rows, then one for all
// pieces.
#include "ops/inspect_activations.h"

#include <limits>

#include "ops/cuda/kernel.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

using Partial = Magnitudes::Partial;

constexpr int kThreads = 256;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// A magnitude and where it is, such that the larger one counts, and of equals the first; 0: none.
using Largest = unsigned long long;
HG_DEVICE Largest at(float magnitude, unsigned place) {
  return static_cast<Largest>(__float_as_uint(magnitude)) << 32 | (0xffffffffU - place);
}
HG_DEVICE unsigned place_of(Largest largest) {
  return 0xffffffffU - static_cast<unsigned>(largest & 0xffffffffU);
}
HG_DEVICE float magnitude_of(Largest largest) {
  return __uint_as_float(static_cast<unsigned>(largest >> 32));
}

/// What is summed; counts are exact in f64.
struct Sums {
  enum { kSum, kSquares, kFinite, kBelow1e2, kBelow1e3, kSums };
  double values[kSums] = {};
  Largest largest = 0;

  HG_DEVICE void add(float x, unsigned place) {
    const float magnitude = fabsf(x);
    if (!(magnitude < kInfinity)) return;
    const double m = static_cast<double>(magnitude);
    values[kSum] += m;
    values[kSquares] += m * m;
    values[kFinite] += 1;
    values[kBelow1e2] += magnitude < 1e-2F ? 1 : 0;
    values[kBelow1e3] += magnitude < 1e-3F ? 1 : 0;
    keep(at(magnitude, place));
  }
  HG_DEVICE void keep(Largest other) { largest = largest < other ? other : largest; }
  /// That of the block, in all threads.
  HG_DEVICE void join() {
    HG_SHARED(double, partials, [kSums][kThreads / 32]);
    HG_SHARED(Largest, largests, [kThreads / 32]);
    for (int k = 0; k < kSums; ++k) values[k] = row_sum(values[k], partials[k]);
    largest = row_max(largest, largests);
  }
};

/// Places are elements of the piece.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    measure_pieces(Partial* __restrict__ pieces, Rows<const T> x, std::int64_t rows, int vectors) {
  const std::int64_t begin = blockIdx.x * Magnitudes::kRowsPerPiece;
  const auto length = static_cast<unsigned>(
      min(rows - begin, static_cast<std::int64_t>(Magnitudes::kRowsPerPiece)));
  const auto width = static_cast<unsigned>(vectors);
  Sums sums;
  for (unsigned i = threadIdx.x; i < length * width; i += kThreads) {
    const auto v = load_vector<n>(x[begin + i / width], i % width);
    for (unsigned j = 0; j < n; ++j) sums.add(v[static_cast<int>(j)], i * n + j);
  }
  sums.join();
  if (threadIdx.x > 0) return;
  const unsigned place = place_of(sums.largest), columns = width * n;
  pieces[blockIdx.x] = {
      .sum = sums.values[Sums::kSum],
      .squares = sums.values[Sums::kSquares],
      .finite = static_cast<std::int64_t>(sums.values[Sums::kFinite]),
      .below_1e2 = static_cast<std::int64_t>(sums.values[Sums::kBelow1e2]),
      .below_1e3 = static_cast<std::int64_t>(sums.values[Sums::kBelow1e3]),
      .token = begin + place / columns,
      .channel = place % columns,
      .max = sums.largest == 0 ? -1 : static_cast<double>(magnitude_of(sums.largest))};
}

/// Places are pieces.
__global__ void __launch_bounds__(kThreads)
    add_pieces(float* __restrict__ out, const Partial* __restrict__ pieces, unsigned count,
               double elements) {
  Sums sums;
  for (unsigned i = threadIdx.x; i < count; i += kThreads) {
    const Partial piece = pieces[i];
    sums.values[Sums::kSum] += piece.sum;
    sums.values[Sums::kSquares] += piece.squares;
    sums.values[Sums::kFinite] += static_cast<double>(piece.finite);
    sums.values[Sums::kBelow1e2] += static_cast<double>(piece.below_1e2);
    sums.values[Sums::kBelow1e3] += static_cast<double>(piece.below_1e3);
    if (piece.max >= 0) sums.keep(at(static_cast<float>(piece.max), i));
  }
  sums.join();
  if (threadIdx.x > 0) return;
  const double finite = sums.values[Sums::kFinite];
  out[Magnitudes::kNonFinite] = static_cast<float>(elements - finite);
  if (finite == 0) {
    for (int k = 0; k < Magnitudes::kNonFinite; ++k) out[k] = nanf("");
    return;
  }
  const Partial& its = pieces[place_of(sums.largest)];
  out[Magnitudes::kMax] = static_cast<float>(its.max);
  out[Magnitudes::kToken] = static_cast<float>(its.token);
  out[Magnitudes::kChannel] = static_cast<float>(its.channel);
  out[Magnitudes::kMean] = static_cast<float>(sums.values[Sums::kSum] / finite);
  out[Magnitudes::kRms] = static_cast<float>(sqrt(sums.values[Sums::kSquares] / finite));
  out[Magnitudes::kShareBelow1e2] = static_cast<float>(sums.values[Sums::kBelow1e2] / finite);
  out[Magnitudes::kShareBelow1e3] = static_cast<float>(sums.values[Sums::kBelow1e3] / finite);
}

/// One thread: parts are as few as ranks.
__global__ void join_parts(float* __restrict__ out, const float* __restrict__ parts, int count,
                           double elements, float tokens, float channels) {
  using M = Magnitudes;
  constexpr int kMeans = 4,
                kMean[kMeans] = {M::kMean, M::kRms, M::kShareBelow1e2, M::kShareBelow1e3};
  double sums[kMeans] = {}, finite = 0, non_finite = 0;
  float max = -1, token = 0, channel = 0;
  for (int i = 0; i < count; ++i) {
    const float* part = parts + i * M::kStatistics;
    non_finite += static_cast<double>(part[M::kNonFinite]);
    if (part[M::kMax] != part[M::kMax]) continue;  // no element is finite
    const double its = elements - static_cast<double>(part[M::kNonFinite]);
    finite += its;
    for (int k = 0; k < kMeans; ++k) {
      const double mean = static_cast<double>(part[kMean[k]]);
      sums[k] += its * (kMean[k] == M::kRms ? mean * mean : mean);
    }
    const float t = part[M::kToken] + static_cast<float>(i) * tokens,
                c = part[M::kChannel] + static_cast<float>(i) * channels;
    const bool first = t < token || (t == token && c < channel);
    if (part[M::kMax] < max || (part[M::kMax] == max && !first)) continue;
    max = part[M::kMax], token = t, channel = c;
  }
  out[M::kNonFinite] = static_cast<float>(non_finite);
  if (finite == 0) {
    for (int k = 0; k < M::kNonFinite; ++k) out[k] = nanf("");
    return;
  }
  out[M::kMax] = max;
  out[M::kToken] = token;
  out[M::kChannel] = channel;
  for (int k = 0; k < kMeans; ++k) {
    const double mean = sums[k] / finite;
    out[kMean[k]] = static_cast<float>(kMean[k] == M::kRms ? sqrt(mean) : mean);
  }
}

}  // namespace

template <>
void cuda_kernel(const Magnitudes& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const Tensor room = op.scratch(ctx);
  auto* pieces = static_cast<Partial*>(room.data());
  const std::int64_t count = op.x.dim(1) > 0 ? room.dim(0) : 0;
  if (count > 0) {
    for_vectors(op.x.dtype(), wide({op.x}), [&]<class T, int n>() {
      launch(measure_pieces<DeviceType<T>, n>, dim3(static_cast<unsigned>(count)), dim3(kThreads),
             0, stream, pieces, rows_of<T>(op.x), op.x.dim(0), static_cast<int>(op.x.dim(1) / n));
    });
  }
  launch(add_pieces, dim3(1), dim3(kThreads), 0, stream, op.out.as<float>(), pieces,
         static_cast<unsigned>(count), static_cast<double>(op.x.numel()));
}

template <>
void cuda_kernel(const JoinMagnitudes& op, Context&, cudaStream_t stream) {
  launch(join_parts, dim3(1), dim3(1), 0, stream, op.out.as<float>(), op.parts.as<float>(),
         static_cast<int>(op.parts.dim(0)), static_cast<double>(op.elements),
         static_cast<float>(op.tokens), static_cast<float>(op.channels));
}

}  // namespace hg
