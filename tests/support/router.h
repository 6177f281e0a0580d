// A router to test: its operands, and its definition in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "model/instruments.h"
#include "ops/route.h"
#include "support/tensors.h"

namespace hg::test {

struct RouterSetup {
  std::int64_t tokens, experts, k;
  RouterFunction function = {};
  bool biased = false;
  std::vector<std::int32_t> documents = {};  // bounds; empty: not given
};

struct Router {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  RouterFunction function;
  Tensor logits, bias, documents, weights, experts, counts, probability_sums, statistics;
  Tensor dropped, dlogits, dweights, balance;
  float z = 0.03F;

  Router(Isa isa, const RouterSetup& setup) : ctx(cpu_context(isa)), function(setup.function) {
    const auto& [tokens, count, k, _, biased, bounds] = setup;
    logits = memory.normal("logits", {tokens, count});
    spread_logits();
    if (biased) bias = memory.normal("bias", {count}, DType::f32, 0.2F);
    if (!bounds.empty()) documents = memory.integers(bounds);
    const Shape sums{bounds.empty() ? 1 : std::ssize(bounds) - 1, count};
    weights = memory.empty({tokens, k});
    experts = memory.empty({tokens, k}, DType::i32);
    counts = memory.empty(sums, DType::i32);
    probability_sums = memory.empty(sums);
    statistics = memory.empty({RouterForward::kStatistics});
    dropped = memory.zeros({1}, DType::i32);
    dlogits = memory.empty(logits.shape());
    dweights = memory.normal("dweights", weights.shape());
    balance = memory.normal("balance", sums);
  }
  /// Gives each token's logits distances of at least 0.08 from each other, so that no nudge of
  /// finite differences reorders them.
  void spread_logits() const {
    const std::int64_t count = logits.dim(1);
    for (std::int64_t t = 0; t < logits.dim(0); ++t) {
      float* row = logits.as<float>() + t * count;
      std::vector<std::int64_t> order(static_cast<std::size_t>(count));
      std::iota(order.begin(), order.end(), 0);
      std::ranges::sort(order, {}, [&](std::int64_t e) { return row[e]; });
      for (std::int64_t rank = 0; rank < count; ++rank) {
        float& logit = row[order[static_cast<std::size_t>(rank)]];
        logit = 0.12F * static_cast<float>(rank - count / 2) + 0.02F * std::tanh(logit);
      }
    }
  }
  RouterForward forward_op() const {
    return {.weights = weights,
            .experts = experts,
            .counts = counts,
            .probability_sums = probability_sums,
            .statistics = statistics,
            .logits = logits,
            .bias = bias,
            .documents = documents,
            .function = function};
  }
  RouterBackward backward_op() const {
    return {.dlogits = dlogits,
            .dweights = dweights,
            .logits = logits,
            .experts = experts,
            .balance = balance,
            .documents = documents,
            .function = function,
            .z = z};
  }
  /// As instruments see it; nothing is dropped.
  RouterView view() const {
    return {.counts = counts,
            .probability_sums = probability_sums,
            .statistics = statistics,
            .dropped = dropped};
  }
  void forward() const { run(*ctx, forward_op()); }
  void backward() const { run(*ctx, backward_op()); }
};

/// The definition of forward, token by token in double.
struct RouterReference {
  Tensors memory;
  Tensor weights, experts, counts, probability_sums, statistics;

  explicit RouterReference(const Router& router) {
    weights = memory.empty(router.weights.shape());
    experts = memory.empty(router.experts.shape(), DType::i32);
    counts = memory.zeros(router.counts.shape(), DType::i32);
    probability_sums = memory.zeros(router.probability_sums.shape());
    statistics = memory.zeros(router.statistics.shape());
    std::int64_t document = 0;
    for (std::int64_t t = 0; t < router.logits.dim(0); ++t) {
      while (router.documents && router.documents.as<std::int32_t>()[document + 1] <= t) ++document;
      add_token(router, t, document);
    }
  }

 private:
  void add_token(const Router& router, std::int64_t t, std::int64_t document) const {
    const std::int64_t count = router.logits.dim(1), k = experts.dim(1);
    std::vector<double> scores, selection;
    double exp_sum = 0, score_sum = 0, largest = 0;
    for (std::int64_t e = 0; e < count; ++e) {
      const double logit = get(router.logits, t * count + e);
      exp_sum += std::exp(logit);
      largest = std::max(largest, std::abs(logit));
    }
    for (std::int64_t e = 0; e < count; ++e) {
      const double logit = get(router.logits, t * count + e);
      const bool softmax = router.function.score == RouterScore::softmax;
      scores.push_back(softmax ? std::exp(logit) / exp_sum : 1 / (1 + std::exp(-logit)));
      score_sum += scores.back();
      selection.push_back(scores.back() + (router.bias ? double{get(router.bias, e)} : 0));
    }
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::stable_sort(order, std::greater<>(), [&](auto e) { return selection[e]; });
    order.resize(static_cast<std::size_t>(k));
    double sum = 0;
    for (const std::size_t e : order) sum += scores[e];
    for (std::int64_t i = 0; i < k; ++i) {
      const std::size_t e = order[static_cast<std::size_t>(i)];
      const double weight = scores[e] / (router.function.renormalize ? sum : 1);
      set(weights, t * k + i, static_cast<float>(double{router.function.factor} * weight));
      experts.as<std::int32_t>()[t * k + i] = static_cast<std::int32_t>(e);
      ++counts.as<std::int32_t>()[document * count + static_cast<std::int64_t>(e)];
    }
    for (std::int64_t e = 0; e < count; ++e) {
      probability_sums.as<float>()[document * count + e] +=
          static_cast<float>(scores[static_cast<std::size_t>(e)] / score_sum);
    }
    float* out = statistics.as<float>();
    out[RouterForward::kSquaredLse] += static_cast<float>(std::pow(std::log(exp_sum), 2));
    out[RouterForward::kTopProbability] +=
        static_cast<float>(*std::ranges::max_element(scores) / score_sum);
    float& logit = out[RouterForward::kLargestLogit];
    logit = std::max(logit, static_cast<float>(largest));
  }
};

}  // namespace hg::test
