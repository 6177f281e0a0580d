#include "model/router_load.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/route.h"

namespace hg {

void RouterTotals::add(const RouterView& view, std::int64_t top_k) {
  const std::size_t experts = choices.size();
  HG_CHECK(static_cast<std::size_t>(view.counts.dim(1)) == experts,
           "router totals of {} experts cannot take in those of {}", experts, view.counts.dim(1));
  const auto* counts = view.counts.as<std::int32_t>();
  const auto* sums = view.probability_sums.as<float>();
  std::int64_t chosen = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(view.counts.numel()); ++i) {
    choices[i % experts] += counts[i];
    probability_sums[i % experts] += double{sums[i]};
    chosen += counts[i];
  }
  HG_CHECK(chosen % top_k == 0, "a router made {} choices, no multiple of the {} of a token",
           chosen, top_k);
  tokens += chosen / top_k;
  dropped += *view.dropped.as<std::int32_t>();
  const auto* statistics = view.statistics.as<float>();
  squared_lse += double{statistics[RouterForward::kSquaredLse]};
  top_probability += double{statistics[RouterForward::kTopProbability]};
  largest_logit = std::max(largest_logit, double{statistics[RouterForward::kLargestLogit]});
}

void RouterTotals::add(const RouterTotals& other) {
  HG_CHECK(other.choices.size() == choices.size(),
           "router totals of {} experts cannot take in those of {}", choices.size(),
           other.choices.size());
  for (std::size_t e = 0; e < choices.size(); ++e) {
    choices[e] += other.choices[e];
    probability_sums[e] += other.probability_sums[e];
  }
  tokens += other.tokens;
  dropped += other.dropped;
  squared_lse += other.squared_lse;
  top_probability += other.top_probability;
  largest_logit = std::max(largest_logit, other.largest_logit);
}

namespace {

double sum_of(const std::vector<std::int64_t>& choices) {
  return static_cast<double>(std::accumulate(choices.begin(), choices.end(), std::int64_t{0}));
}

}  // namespace

std::vector<double> relative_loads(const RouterTotals& totals) {
  HG_CHECK(totals.tokens > 0, "the load of a router that saw no tokens is not defined");
  const double ideal = sum_of(totals.choices) / static_cast<double>(totals.choices.size());
  std::vector<double> loads;
  for (const std::int64_t choices : totals.choices)
    loads.push_back(static_cast<double>(choices) / ideal);
  return loads;
}

RouterLoad router_load(const RouterTotals& totals) {
  const std::vector<double> loads = relative_loads(totals);
  const auto experts = static_cast<double>(loads.size());
  const auto tokens = static_cast<double>(totals.tokens);
  RouterLoad load{.max_load = std::ranges::max(loads),
                  .min_load = std::ranges::min(loads),
                  .max_violation = std::ranges::max(loads) - 1,
                  .load_cv = 0,
                  .load_entropy = 0,
                  .dead_experts = 0,
                  .dropped = static_cast<double>(totals.dropped) / sum_of(totals.choices),
                  .top_probability = totals.top_probability / tokens,
                  .largest_logit = totals.largest_logit,
                  .balance_loss = 0,
                  .z_loss = totals.squared_lse / tokens};
  double squares = 0, entropy = 0;
  for (std::size_t e = 0; e < loads.size(); ++e) {
    const double share = loads[e] / experts;
    load.dead_experts += loads[e] < kDeadLoad ? 1 : 0;
    load.balance_loss += loads[e] * totals.probability_sums[e] / tokens;
    squares += (loads[e] - 1) * (loads[e] - 1);
    if (share > 0) entropy -= share * std::log(share);
  }
  load.load_cv = std::sqrt(squares / experts);
  load.load_entropy = experts > 1 ? entropy / std::log(experts) : 1;  // one expert is even
  return load;
}

}  // namespace hg
