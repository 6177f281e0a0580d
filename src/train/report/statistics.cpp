#include "train/report/statistics.h"

#include <cmath>
#include <utility>

namespace hg {

Spread spread_of(std::span<const double> values) {
  Spread spread;
  double sum = 0, squares = 0;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    ++spread.count;
    sum += value;
  }
  if (spread.count == 0) return spread;
  const auto n = static_cast<double>(spread.count);
  spread.mean = sum / n;
  if (spread.count == 1) return spread;
  for (const double value : values) {
    if (std::isfinite(value)) squares += (value - spread.mean) * (value - spread.mean);
  }
  spread.standard_error = std::sqrt(squares / (n - 1) / n);
  return spread;
}

Difference compare(const Spread& a, const Spread& b) {
  Difference difference{.value = a.mean - b.mean};
  if (a.count < 2 || b.count < 2) return difference;
  const double of_a = a.standard_error * a.standard_error;
  const double of_b = b.standard_error * b.standard_error;
  difference.standard_error = std::sqrt(of_a + of_b);
  const double below = of_a * of_a / static_cast<double>(a.count - 1) +
                       of_b * of_b / static_cast<double>(b.count - 1);
  // Without any spread the degrees of freedom are 0 / 0, and the limit is 0 whatever they are.
  const double degrees = below > 0 ? (of_a + of_b) * (of_a + of_b) / below : 1;
  difference.limit = student_t975(degrees) * difference.standard_error;
  difference.verdict = std::abs(difference.value) > difference.limit
                           ? Difference::Verdict::distinguishable
                           : Difference::Verdict::not_distinguishable;
  return difference;
}

double student_t975(double degrees) {
  constexpr std::pair<double, double> kTable[] = {
      {1, 12.706}, {2, 4.303},  {3, 3.182},  {4, 2.776},  {5, 2.571},  {6, 2.447},
      {7, 2.365},  {8, 2.306},  {9, 2.262},  {10, 2.228}, {12, 2.179}, {15, 2.131},
      {20, 2.086}, {30, 2.042}, {60, 2.000}, {120, 1.980}};
  double t = kTable[0].second;
  for (const auto& [from, quantile] : kTable) {
    if (degrees + 1e-9 >= from) t = quantile;
  }
  return t;
}

}  // namespace hg
