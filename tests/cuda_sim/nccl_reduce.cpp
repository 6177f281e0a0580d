// The arithmetic of simulated collectives.
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/dtype.h"
#include "cuda_sim/nccl_clique.h"

namespace cuda_sim {
namespace {

float combine(float a, float b, bool max) { return max ? std::fmax(a, b) : a + b; }

hg::bf16 combine(hg::bf16 a, hg::bf16 b, bool max) {
  return hg::bf16(combine(static_cast<float>(a), static_cast<float>(b), max));
}

std::int32_t combine(std::int32_t a, std::int32_t b, bool max) {
  if (max) return std::max(a, b);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
}

/// The elements [begin, end) of all ranks, starting at rank `first`.
template <class T>
std::vector<T> reduce_piece(const std::vector<Ask>& asks, std::size_t begin, std::size_t end,
                            std::size_t first) {
  const std::size_t n = asks.size();
  const auto in = [&](std::size_t step) {
    return static_cast<const T*>(asks[(first + step) % n].in);
  };
  std::vector<T> result(in(0) + begin, in(0) + end);
  for (std::size_t step = 1; step < n; ++step) {
    const T* theirs = in(step) + begin;
    for (std::size_t i = 0; i < result.size(); ++i)
      result[i] = combine(result[i], theirs[i], asks[0].op == ncclMax);
  }
  return result;
}

template <class T>
void reduce(const std::vector<Ask>& asks) {
  const std::size_t n = asks.size(), count = asks[0].count;
  const bool scatter = asks[0].kind == Ask::Kind::reduce_scatter;
  for (std::size_t piece = 0; piece < n; ++piece) {
    const std::size_t begin = scatter ? piece * count : piece * count / n;
    const std::size_t end = scatter ? begin + count : (piece + 1) * count / n;
    const std::vector<T> result = reduce_piece<T>(asks, begin, end, (piece + 1) % n);
    const std::size_t bytes = result.size() * sizeof(T);
    if (bytes == 0) continue;
    for (std::size_t r = 0; r < n; ++r) {
      if (!scatter) std::memcpy(static_cast<T*>(asks[r].out) + begin, result.data(), bytes);
      if (scatter && r == piece) std::memcpy(asks[r].out, result.data(), bytes);
    }
  }
}

}  // namespace

std::size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclFloat32:
    case ncclInt32:
      return 4;
    case ncclBfloat16:
      return 2;
    default:
      throw NcclFailure(ncclInvalidArgument,
                        fmt::format("the simulation has no type {}", static_cast<int>(type)));
  }
}

void perform(const std::vector<Ask>& asks) {
  const std::size_t bytes = asks[0].count * size_of(asks[0].type);
  const auto copy = [&](const Ask& to, std::size_t offset, const Ask& from) {
    std::byte* target = static_cast<std::byte*>(to.out) + offset;
    if (target != from.in) std::memcpy(target, from.in, bytes);
  };
  switch (asks[0].kind) {
    case Ask::Kind::all_reduce:
    case Ask::Kind::reduce_scatter:
      return asks[0].type == ncclFloat32    ? reduce<float>(asks)
             : asks[0].type == ncclBfloat16 ? reduce<hg::bf16>(asks)
                                            : reduce<std::int32_t>(asks);
    case Ask::Kind::all_gather:
      for (const Ask& to : asks)
        for (std::size_t r = 0; r < asks.size(); ++r) copy(to, r * bytes, asks[r]);
      return;
    case Ask::Kind::broadcast:
      for (const Ask& to : asks) copy(to, 0, asks[static_cast<std::size_t>(asks[0].root)]);
      return;
    default:
      hg::fail("{} is not performed for all ranks at once", asks[0].words());
  }
}

}  // namespace cuda_sim
