// Plans of experts to test: choices, and the rows they get.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "ops/dispatch.h"
#include "support/tensors.h"

namespace hg::test {

/// The plan for given choices.
struct Plan {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor experts, rows, counts, offsets, dropped;
  std::int64_t capacity;

  Plan(Isa isa, const std::vector<std::int32_t>& choices, std::int64_t k, std::int64_t count,
       std::int64_t most = 0)
      : ctx(cpu_context(isa)), capacity(most) {
    experts = memory.integers(choices).view({std::ssize(choices) / k, k});
    rows = memory.empty(experts.shape(), DType::i32);
    counts = memory.empty({count}, DType::i32);
    offsets = memory.empty({count + 1}, DType::i32);
    dropped = memory.empty({1}, DType::i32);
  }
  ExpertPlan op() const {
    return {.rows = rows,
            .counts = counts,
            .offsets = offsets,
            .dropped = dropped,
            .experts = experts,
            .capacity = capacity};
  }
  void make() const { run(*ctx, op()); }
};

/// K different experts of `count` for each token, most often the first ones.
inline std::vector<std::int32_t> random_choices(std::int64_t tokens, std::int64_t k,
                                                std::int64_t count) {
  const RandomStream stream(5, "choices");
  std::vector<std::int32_t> result;
  for (std::uint64_t draw = 0; std::ssize(result) < tokens * k; ++draw) {
    const auto e =
        static_cast<std::int32_t>(std::abs(stream.normal(draw)) * static_cast<float>(count) / 3);
    const auto token = result.end() - std::ssize(result) % k;
    if (e < count && std::find(token, result.end(), e) == result.end()) result.push_back(e);
  }
  return result;
}

}  // namespace hg::test
