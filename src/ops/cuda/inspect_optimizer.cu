// CUDA bodies of ops/inspect_optimizer.h: one pass over flat memory, a block for every piece, then
// one for all pieces.
#include "ops/inspect_optimizer.h"

#include <algorithm>
#include <cmath>

#include "ops/cuda/kernel.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

constexpr int kThreads = 256, kSums = UpdateNorms::kSums;

/// What gives u from m and v, see ops/optimizer.h.
struct Rates {
  float rate, root, eps, decay;
};

struct Sums {
  double values[kSums] = {};

  /// Without the factors that all terms share.
  template <int n>
  HG_DEVICE void add(const Elements<float, n>& weight, const Elements<float, n>& m,
                     const Elements<float, n>& v, const Elements<float, n>& gradient,
                     const Rates& rates) {
    for (int j = 0; j < n; ++j) {
      const float u = rates.rate * m[j] / (sqrtf(v[j]) * rates.root + rates.eps);
      add(UpdateNorms::kWeights, weight[j]);
      add(UpdateNorms::kUpdates, u + rates.decay * weight[j]);
      add(UpdateNorms::kGradients, gradient[j]);
    }
  }
  HG_DEVICE void add(int which, float x) {
    values[which] += static_cast<double>(x) * static_cast<double>(x);
  }
  /// Those of the block, in all threads.
  HG_DEVICE void join() {
    HG_SHARED(double, partials, [kSums][kThreads / 32]);
    for (int k = 0; k < kSums; ++k) values[k] = row_sum(values[k], partials[k]);
  }
};

/// A piece of the elements a block; what its last vector would go beyond is added one by one.
template <int n>
__global__ void __launch_bounds__(kThreads)
    sum_pieces(double* __restrict__ pieces, const float* __restrict__ master,
               const float* __restrict__ m, const float* __restrict__ v,
               const float* __restrict__ gradient, std::int64_t count, std::int64_t piece,
               Rates rates) {
  const std::int64_t begin = blockIdx.x * piece, end = min(begin + piece, count);
  Sums sums;
  std::int64_t i = begin + threadIdx.x * n;
  for (; i + n <= end; i += kThreads * n) {
    sums.add(load_vector<n>(master + i, 0), load_vector<n>(m + i, 0), load_vector<n>(v + i, 0),
             load_vector<n>(gradient + i, 0), rates);
  }
  for (; i < end; ++i) {
    sums.add(load_vector<1>(master + i, 0), load_vector<1>(m + i, 0), load_vector<1>(v + i, 0),
             load_vector<1>(gradient + i, 0), rates);
  }
  sums.join();
  for (int k = 0; threadIdx.x == 0 && k < kSums; ++k)
    pieces[blockIdx.x * std::int64_t{kSums} + k] = sums.values[k];
}

struct Factors {
  double values[kSums];
};

__global__ void __launch_bounds__(kThreads)
    add_pieces(float* __restrict__ out, const double* __restrict__ pieces, int count,
               Factors factors) {
  Sums sums;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads)
    for (int k = 0; k < kSums; ++k) sums.values[k] += pieces[i * kSums + k];
  sums.join();
  for (int k = 0; threadIdx.x == 0 && k < kSums; ++k)
    out[k] = static_cast<float>(factors.values[k] * sums.values[k]);
}

}  // namespace

template <>
void cuda_kernel(const UpdateNorms& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  auto* pieces = static_cast<double*>(op.scratch(ctx).data());
  const double c1 = 1 - std::pow(op.beta1, static_cast<double>(op.step));
  const double c2 = 1 - std::pow(op.beta2, static_cast<double>(op.step));
  const Rates rates{.rate = static_cast<float>(1 / c1),
                    .root = static_cast<float>(1 / std::sqrt(c2)),
                    .eps = static_cast<float>(op.eps),
                    .decay = static_cast<float>(op.weight_decay)};
  const double update = op.lr / (1 - op.lr * op.weight_decay), gradient = op.gradient_scale;
  Factors factors{};
  factors.values[UpdateNorms::kWeights] = 1;
  factors.values[UpdateNorms::kUpdates] = update * update;
  factors.values[UpdateNorms::kGradients] = gradient * gradient;

  constexpr std::int64_t kPieces = UpdateNorms::kPieces, kLeast = kThreads * 4;
  const std::int64_t count = op.master.numel();
  const std::int64_t piece =
      std::max((count + kPieces - 1) / kPieces + kLeast - 1, kLeast) / kLeast * kLeast;
  const std::int64_t blocks = (count + piece - 1) / piece;
  const auto *master = op.master.as<float>(), *m = op.m.as<float>(), *v = op.v.as<float>(),
             *g = op.gradient.as<float>();
  if (blocks > 0) {
    const bool fits = aligned(master) && aligned(m) && aligned(v) && aligned(g);
    launch(fits ? sum_pieces<4> : sum_pieces<1>, dim3(static_cast<unsigned>(blocks)),
           dim3(kThreads), 0, stream, pieces, master, m, v, g, count, piece, rates);
  }
  launch(add_pieces, dim3(1), dim3(kThreads), 0, stream, op.out.as<float>(), pieces,
         static_cast<int>(blocks), factors);
}

}  // namespace hg
