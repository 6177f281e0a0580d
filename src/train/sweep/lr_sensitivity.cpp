#include "train/sweep/lr_sensitivity.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <set>

namespace hg {
namespace {

/// The runs of one learning rate.
struct AtLr {
  double sum = 0;  // of losses, cut at l0
  std::int64_t runs = 0;
  bool known = true, diverged = false;

  void add(const LrPoint& point) {
    const double loss = point.diverged ? point.initial : std::min(point.loss, point.initial);
    known = known && point.ended && std::isfinite(loss);
    diverged = diverged || point.diverged;
    sum += loss;
    ++runs;
  }
  double loss() const { return sum / static_cast<double>(runs); }
};

/// All but `of_seeds`.
LrSummary summarize_together(std::span<const LrPoint> points) {
  std::map<double, AtLr> by_lr;
  std::set<std::int64_t> seeds;
  for (const LrPoint& point : points) {
    by_lr[point.lr].add(point);
    seeds.insert(point.seed);
  }
  std::erase_if(by_lr, [](const auto& entry) { return !entry.second.known; });

  LrSummary summary;
  summary.seeds.assign(seeds.begin(), seeds.end());
  if (by_lr.empty()) return summary;
  double sum = 0;
  bool stable = true;
  for (const auto& [lr, at] : by_lr) {
    summary.grid.push_back(lr);
    sum += at.loss();
    if (std::isnan(summary.best_loss) || at.loss() < summary.best_loss) {
      summary.best_loss = at.loss();
      summary.best_lr = lr;
    }
    stable = stable && !at.diverged;
    if (stable) summary.largest_stable_lr = lr;
  }
  summary.sensitivity = sum / static_cast<double>(by_lr.size()) - summary.best_loss;
  return summary;
}

}  // namespace

LrSummary summarize_lrs(std::span<const LrPoint> points) {
  LrSummary summary = summarize_together(points);
  const auto shared = [&](double lr) {
    return std::ranges::count(points, lr, &LrPoint::lr) == std::ssize(summary.seeds) &&
           std::ranges::binary_search(summary.grid, lr);
  };
  for (const std::int64_t seed : summary.seeds) {
    std::vector<LrPoint> own;
    std::ranges::copy_if(points, std::back_inserter(own), [&](const LrPoint& point) {
      return point.seed == seed && shared(point.lr);
    });
    summary.of_seeds.push_back(summarize_together(own).sensitivity);
  }
  return summary;
}

}  // namespace hg
