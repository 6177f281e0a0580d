#include "train/report/series.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.h"
#include "core/median.h"

namespace hg {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

std::vector<double> finite(const Series& series) {
  std::vector<double> values;
  for (const double value : series.values) {
    if (std::isfinite(value)) values.push_back(value);
  }
  return values;
}

/// Calls f(bucket, begin, end) for each part of [first, last] that has points, with their indices.
void for_each_bucket(const Series& series, double first, double last, std::size_t buckets,
                     auto&& f) {
  HG_CHECK(buckets > 0, "a chart needs at least one bucket, found 0");
  const auto& steps = series.steps;
  auto at = static_cast<std::size_t>(std::ranges::lower_bound(steps, first) - steps.begin());
  const auto stop = static_cast<std::size_t>(std::ranges::upper_bound(steps, last) - steps.begin());
  const auto bucket_of = [&](std::size_t i) {
    if (last <= first) return std::size_t{0};
    const double part = (steps[i] - first) / (last - first) * static_cast<double>(buckets);
    return std::min(static_cast<std::size_t>(part), buckets - 1);
  };
  while (at < stop) {
    const std::size_t begin = at, bucket = bucket_of(at);
    while (at < stop && bucket_of(at) == bucket) ++at;
    f(bucket, begin, at);
  }
}

}  // namespace

void put_in_order(Series& series) {
  const bool ordered =
      std::ranges::adjacent_find(series.steps, std::greater_equal()) == series.steps.end();
  if (ordered) return;
  std::vector<std::size_t> order(series.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return series.steps[i]; });
  Series sorted;
  for (const std::size_t i : order) {
    if (!sorted.empty() && sorted.steps.back() == series.steps[i]) {
      sorted.values.back() = series.values[i];
    } else {
      sorted.add(series.steps[i], series.values[i]);
    }
  }
  series = std::move(sorted);
}

Series smooth(const Series& series, double alpha) {
  Series smoothed = series;
  double mean = kUnknown;
  for (double& value : smoothed.values) {
    if (!std::isfinite(value)) continue;
    mean = std::isnan(mean) ? value : alpha * mean + (1 - alpha) * value;
    value = mean;
  }
  return smoothed;
}

Series downsample(const Series& series, double first, double last, std::size_t buckets) {
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  Series kept;
  for_each_bucket(series, first, last, buckets,
                  [&](std::size_t, std::size_t begin, std::size_t end) {
                    if (series.size() <= 4 * buckets) {
                      for (std::size_t i = begin; i < end; ++i)
                        kept.add(series.steps[i], series.values[i]);
                      return;
                    }
                    std::size_t lowest = kNone, highest = kNone, broken = kNone;
                    for (std::size_t i = begin; i < end; ++i) {
                      const double value = series.values[i];
                      if (!std::isfinite(value)) {
                        broken = std::min(broken, i);
                        continue;
                      }
                      if (lowest == kNone || value < series.values[lowest]) lowest = i;
                      if (highest == kNone || value > series.values[highest]) highest = i;
                    }
                    std::array points = {begin, lowest, highest, broken, end - 1};
                    std::ranges::sort(points);
                    const auto distinct = std::ranges::unique(points).begin();
                    for (auto i = points.begin(); i != distinct && *i != kNone; ++i)
                      kept.add(series.steps[*i], series.values[*i]);
                  });
  return kept;
}

Series binned_medians(const Series& series, double first, double last, std::size_t bins) {
  Series medians;
  const double width = (last - first) / static_cast<double>(bins);
  for (std::size_t bin = 0; bin < bins; ++bin)
    medians.add(first + (static_cast<double>(bin) + 0.5) * width, kUnknown);
  for_each_bucket(series, first, last, bins,
                  [&](std::size_t bin, std::size_t begin, std::size_t end) {
                    std::vector<double> values;
                    for (std::size_t i = begin; i < end; ++i) {
                      if (std::isfinite(series.values[i])) values.push_back(series.values[i]);
                    }
                    medians.values[bin] = median(std::move(values));
                  });
  return medians;
}

Series difference(const Series& a, const Series& b) {
  HG_CHECK(a.steps == b.steps, "a difference of series with {} and {} other steps", a.size(),
           b.size());
  Series result = a;
  for (std::size_t i = 0; i < a.size(); ++i) result.values[i] -= b.values[i];
  return result;
}

Series mean_of(const std::vector<Series>& series) {
  HG_CHECK(!series.empty(), "the mean of no series");
  Series mean = series.front();
  for (std::size_t s = 1; s < series.size(); ++s) {
    HG_CHECK(series[s].steps == mean.steps, "the mean of series with other steps");
    for (std::size_t i = 0; i < mean.size(); ++i) mean.values[i] += series[s].values[i];
  }
  for (double& value : mean.values) value /= static_cast<double>(series.size());
  return mean;
}

double mean_of_last(const Series& series, std::size_t count) {
  double sum = 0, values = 0;
  for (std::size_t i = series.size() - std::min(count, series.size()); i < series.size(); ++i) {
    if (!std::isfinite(series.values[i])) continue;
    sum += series.values[i];
    ++values;
  }
  return values > 0 ? sum / values : kUnknown;
}

double last_of(const Series& series) {
  for (std::size_t i = series.size(); i-- > 0;) {
    if (std::isfinite(series.values[i])) return series.values[i];
  }
  return kUnknown;
}

double least_of(const Series& series) {
  const auto values = finite(series);
  return values.empty() ? kUnknown : *std::ranges::min_element(values);
}

double most_of(const Series& series) {
  const auto values = finite(series);
  return values.empty() ? kUnknown : *std::ranges::max_element(values);
}

double median_of(const Series& series) { return median(finite(series)); }

}  // namespace hg
