// CUDA bodies of ops/dispatch.h. Plans are made on the device and stay there: the host learns no
// count. A token is moved by a block.
#include "ops/dispatch.h"

#include <algorithm>

#include "ops/cuda/kernel.h"
#include "ops/cuda/prefix.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

constexpr int kThreads = 256, kMaxThreads = 1024;

/// Threads for a block that has something for `count` of them to do.
dim3 threads_for(std::int64_t count, int most) {
  return {static_cast<unsigned>(std::clamp<std::int64_t>((count + 31) / 32 * 32, 32, most))};
}
dim3 blocks_for(std::int64_t count) {
  return {static_cast<unsigned>((count + kThreads - 1) / kThreads)};
}

/// The choices of a piece, counted by expert: chosen [pieces, experts]. A piece a block.
__global__ void __launch_bounds__(kThreads)
    count_choices(int* __restrict__ chosen, const int* __restrict__ experts, std::int64_t choices,
                  std::int64_t piece, int count) {
  HG_DYN_SHARED(memory);
  int* sums = reinterpret_cast<int*>(memory);  // [count]
  const int thread = static_cast<int>(threadIdx.x);
  for (int e = thread; e < count; e += kThreads) sums[e] = 0;
  __syncthreads();
  const std::int64_t begin = blockIdx.x * piece;
  const std::int64_t end = begin + piece < choices ? begin + piece : choices;
  for (std::int64_t i = begin + thread; i < end; i += kThreads) atomicAdd(&sums[experts[i]], 1);
  __syncthreads();
  for (int e = thread; e < count; e += kThreads)
    chosen[static_cast<std::int64_t>(blockIdx.x) * count + e] = sums[e];
}

/// Turns what each piece chose of an expert into where the piece starts among the expert's choices,
/// and gives experts their rows. One block, an expert a thread.
__global__ void __launch_bounds__(kMaxThreads)
    start_pieces(int* starts, int* __restrict__ counts, int* __restrict__ offsets,
                 int* __restrict__ dropped, int pieces, int experts, int capacity, int choices) {
  constexpr int kAtOnce = 8;  // loads that do not wait for each other
  HG_SHARED(int, partial, [kMaxThreads / 32]);
  int rows = 0;  // of the experts before
  for (int first = 0; first < experts; first += static_cast<int>(blockDim.x)) {
    const int e = first + static_cast<int>(threadIdx.x);
    int total = 0;
    for (int p = 0; e < experts && p < pieces; p += kAtOnce) {
      int chosen[kAtOnce];
      for (int j = 0; j < kAtOnce; ++j) {
        chosen[j] = p + j < pieces ? starts[static_cast<std::int64_t>(p + j) * experts + e] : 0;
      }
      for (int j = 0; j < kAtOnce && p + j < pieces; ++j) {
        starts[static_cast<std::int64_t>(p + j) * experts + e] = total;
        total += chosen[j];
      }
    }
    const int kept = total < capacity ? total : capacity;
    const Prefix prefix = prefix_sum(kept, partial);
    if (e < experts) {
      counts[e] = kept;
      offsets[e] = rows + prefix.before;
    }
    rows += prefix.total;
    __syncthreads();
  }
  if (threadIdx.x > 0) return;
  offsets[experts] = rows;
  dropped[0] = choices - rows;
}

/// A piece a block, an expert a thread: it walks over the piece's choices in order, and gives those
/// of its expert their rows.
__global__ void __launch_bounds__(kMaxThreads)
    place_choices(int* __restrict__ rows, const int* __restrict__ experts,
                  const int* __restrict__ starts, const int* __restrict__ offsets,
                  std::int64_t choices, std::int64_t piece, int count, int capacity) {
  constexpr int kTile = 1024;
  HG_SHARED(int, tile, [kTile]);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const std::int64_t begin = blockIdx.x * piece;
  const std::int64_t end = begin + piece < choices ? begin + piece : choices;
  for (int first = 0; first < count; first += threads) {
    const int e = first + thread;
    const int offset = e < count ? offsets[e] : 0;
    int place = e < count ? starts[static_cast<std::int64_t>(blockIdx.x) * count + e] : 0;
    for (std::int64_t top = begin; top < end; top += kTile) {
      const int size = static_cast<int>(end - top < kTile ? end - top : kTile);
      __syncthreads();
      for (int i = thread; i < size; i += threads) tile[i] = experts[top + i];
      __syncthreads();
      for (int i = 0; i < size; ++i) {
        if (tile[i] != e) continue;
        rows[top + i] = place < capacity ? offset + place : -1;
        ++place;
      }
    }
  }
}

/// The rows that came from a rank a block; counts [ranks, experts], of which no more than `room`
/// rows are placed.
__global__ void __launch_bounds__(kMaxThreads, 1)
    place_arrivals(int* __restrict__ places, int* __restrict__ offsets,
                   const int* __restrict__ counts, int experts, std::int64_t room) {
  HG_SHARED(int, partial, [3][kMaxThreads / 32]);
  HG_DYN_SHARED(memory);
  int* firsts = reinterpret_cast<int*>(memory);  // [experts]: its row among the rank's
  int* targets = firsts + experts;               // [experts]: and the place of that
  const int ranks = static_cast<int>(gridDim.x), rank = static_cast<int>(blockIdx.x);
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  int all = 0, own = 0,
      earlier = 0;  // rows of the experts so far: of all ranks, this, those before
  for (int first = 0; first < experts; first += threads) {
    const int e = first + thread;
    int its_all = 0, its_own = 0, its_earlier = 0;
    for (int r = 0; e < experts && r < ranks; ++r) {
      const int count = counts[static_cast<std::int64_t>(r) * experts + e];
      if (r < rank) its_earlier += count;
      if (r == rank) its_own = count;
      its_all += count;
    }
    const Prefix of_all = prefix_sum(its_all, partial[0]);
    const Prefix of_own = prefix_sum(its_own, partial[1]);
    if (e < experts) {
      firsts[e] = own + of_own.before;
      targets[e] = all + of_all.before + its_earlier;
      if (rank == 0) offsets[e] = all + of_all.before;
    }
    earlier += prefix_sum(its_earlier, partial[2]).total;
    all += of_all.total;
    own += of_own.total;
    __syncthreads();
  }
  if (rank == 0 && thread == 0) offsets[experts] = all;
  for (int i = thread; i < own && earlier + i < room; i += threads) {
    const int e = group_of(i, experts, [&](int group) { return firsts[group]; });
    places[earlier + i] = targets[e] + i - firsts[e];
  }
  for (std::int64_t i = all + rank * threads + thread; i < room; i += ranks * threads)
    places[i] = -1;
}

/// A token a block.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    permute(T* __restrict__ y, const T* __restrict__ x, const int* __restrict__ rows, int k,
            std::int64_t h) {
  using Vector = Elements<T, n>;
  const int* its = rows + static_cast<std::int64_t>(blockIdx.x) * k;
  const auto* from = reinterpret_cast<const Vector*>(x + blockIdx.x * h);
  for (std::int64_t i = threadIdx.x; i < h / n; i += blockDim.x) {
    const Vector v = from[i];
    for (int j = 0; j < k; ++j)
      if (its[j] >= 0) reinterpret_cast<Vector*>(y + its[j] * h)[i] = v;
  }
}

/// A token a block; y may be base.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    unpermute(T* y, const T* __restrict__ x, const T* base, const int* __restrict__ rows,
              const int* __restrict__ used, int k, std::int64_t h) {
  using Vector = Elements<T, n>;
  if (used != nullptr && static_cast<int>(blockIdx.x) >= *used) return;
  const int* its = rows + static_cast<std::int64_t>(blockIdx.x) * k;
  const std::int64_t token = blockIdx.x * h;
  for (std::int64_t i = threadIdx.x; i < h / n; i += blockDim.x) {
    float sums[n] = {};
    if (base != nullptr) {
      const Vector v = reinterpret_cast<const Vector*>(base + token)[i];
      for (int e = 0; e < n; ++e) sums[e] = v[e];
    }
    for (int j = 0; j < k; ++j) {
      if (its[j] < 0) continue;
      const Vector v = reinterpret_cast<const Vector*>(x + its[j] * h)[i];
      for (int e = 0; e < n; ++e) sums[e] += v[e];
    }
    Vector out;
    for (int e = 0; e < n; ++e) out.set(e, sums[e]);
    reinterpret_cast<Vector*>(y + token)[i] = out;
  }
}

/// A choice a thread.
__global__ void __launch_bounds__(kThreads)
    permute_weights(float* __restrict__ y, const float* __restrict__ x,
                    const int* __restrict__ rows, std::int64_t choices) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < choices && rows[i] >= 0) y[rows[i]] = x[i];
}

__global__ void __launch_bounds__(kThreads)
    unpermute_weights(float* __restrict__ y, const float* __restrict__ x,
                      const int* __restrict__ rows, std::int64_t choices) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < choices) y[i] = rows[i] >= 0 ? x[rows[i]] : 0;
}

/// Calls fn.operator()<T, n>() for rows of h elements at these addresses.
template <class Fn>
void for_rows(const ConstTensor& a, const ConstTensor& b, const ConstTensor& c, Fn&& fn) {
  const bool wide = aligned(a.data()) && aligned(b.data()) && aligned(c.data()) &&
                    a.dim(1) * size_of(a.dtype()) % 16 == 0;
  for_vectors(a.dtype(), wide, std::forward<Fn>(fn));
}

}  // namespace

template <>
void cuda_kernel(const ExpertPlan& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = op.scratch(ctx);
  auto *starts = pieces.as<std::int32_t>(), *rows = op.rows.as<std::int32_t>(),
       *offsets = op.offsets.as<std::int32_t>();
  const auto* experts = op.experts.as<std::int32_t>();
  const std::int64_t choices = op.experts.numel();
  const std::int64_t piece = ExpertPlan::kTokensPerPiece * op.experts.dim(1);
  const auto count = static_cast<int>(op.counts.dim(0));
  const auto capacity =
      static_cast<int>(op.capacity > 0 ? std::min(op.capacity, choices) : choices);
  const dim3 blocks{static_cast<unsigned>(pieces.dim(0))};
  if (choices > 0) {
    launch(count_choices, blocks, dim3(kThreads), static_cast<std::size_t>(count) * sizeof(int),
           stream, starts, experts, choices, piece, count);
  }
  launch(start_pieces, dim3(1), threads_for(count, kMaxThreads), 0, stream, starts,
         op.counts.as<std::int32_t>(), offsets, op.dropped.as<std::int32_t>(),
         static_cast<int>(pieces.dim(0)), count, capacity, static_cast<int>(choices));
  if (choices > 0) {
    launch(place_choices, blocks, threads_for(count, kMaxThreads), 0, stream, rows, experts, starts,
           offsets, choices, piece, count, capacity);
  }
}

template <>
void cuda_kernel(const ArrivalPlan& op, Context&, cudaStream_t stream) {
  const std::int64_t experts = op.counts.dim(1);
  launch(place_arrivals, dim3(static_cast<unsigned>(op.counts.dim(0))), dim3(kMaxThreads),
         static_cast<std::size_t>(experts) * 2 * sizeof(int), stream, op.places.as<std::int32_t>(),
         op.offsets.as<std::int32_t>(), op.counts.as<std::int32_t>(), static_cast<int>(experts),
         op.places.dim(0));
}

template <>
void cuda_kernel(const Permute& op, Context&, cudaStream_t stream) {
  if (op.x.numel() == 0) return;
  const std::int64_t h = op.x.dim(1);
  for_rows(op.x, op.y, {}, [&]<class T, int n>() {
    launch(permute<DeviceType<T>, n>, dim3(static_cast<unsigned>(op.x.dim(0))),
           threads_for(h / n, kThreads), 0, stream, device_pointer<T>(op.y),
           device_pointer<T>(op.x), op.rows.as<std::int32_t>(), static_cast<int>(op.rows.dim(1)),
           h);
  });
}

template <>
void cuda_kernel(const Unpermute& op, Context&, cudaStream_t stream) {
  if (op.y.numel() == 0) return;
  const std::int64_t h = op.y.dim(1);
  for_rows(op.y, op.x, op.base, [&]<class T, int n>() {
    launch(unpermute<DeviceType<T>, n>, dim3(static_cast<unsigned>(op.y.dim(0))),
           threads_for(h / n, kThreads), 0, stream, device_pointer<T>(op.y),
           device_pointer<T>(op.x), device_pointer<T>(op.base), op.rows.as<std::int32_t>(),
           op.used ? op.used.as<std::int32_t>() : nullptr, static_cast<int>(op.rows.dim(1)), h);
  });
}

template <>
void cuda_kernel(const PermuteWeights& op, Context&, cudaStream_t stream) {
  const std::int64_t choices = op.rows.numel();
  if (choices == 0) return;
  launch(permute_weights, blocks_for(choices), dim3(kThreads), 0, stream, op.y.as<float>(),
         op.x.as<float>(), op.rows.as<std::int32_t>(), choices);
}

template <>
void cuda_kernel(const UnpermuteWeights& op, Context&, cudaStream_t stream) {
  const std::int64_t choices = op.rows.numel();
  if (choices == 0) return;
  launch(unpermute_weights, blocks_for(choices), dim3(kThreads), 0, stream, op.y.as<float>(),
         op.x.as<float>(), op.rows.as<std::int32_t>(), choices);
}

}  // namespace hg
