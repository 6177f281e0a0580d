#include "train/report/statistics.h"

#include <fmt/format.h>

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
  const auto na = static_cast<double>(a.count), nb = static_cast<double>(b.count);
  const double degrees = na + nb - 2;
  const double variance = (na * (na - 1) * a.standard_error * a.standard_error +
                           nb * (nb - 1) * b.standard_error * b.standard_error) /
                          degrees;
  difference.standard_error = std::sqrt(variance * (1 / na + 1 / nb));
  difference.limit = student_t975(degrees) * difference.standard_error;
  difference.verdict = std::abs(difference.value) > difference.limit
                           ? Difference::Verdict::distinguishable
                           : Difference::Verdict::not_distinguishable;
  return difference;
}

std::string chance_text(const Difference& difference) {
  switch (difference.verdict) {
    case Difference::Verdict::unknown:
      break;
    case Difference::Verdict::not_distinguishable:
      return fmt::format(" (± {:.4f}): not distinguishable, as up to {:.4f} may be chance.",
                         difference.standard_error, difference.limit);
    case Difference::Verdict::distinguishable:
      return fmt::format(" (± {:.4f}): more than the {:.4f} that chance explains.",
                         difference.standard_error, difference.limit);
  }
  return ". With fewer than two seeds on a side, this may be chance.";
}

double student_t975(double degrees) {
  constexpr std::pair<double, double> kTable[] = {
      {1, 12.706}, {2, 4.303},  {3, 3.182},  {4, 2.776},  {5, 2.571},  {6, 2.447},
      {7, 2.365},  {8, 2.306},  {9, 2.262},  {10, 2.228}, {12, 2.179}, {15, 2.131},
      {20, 2.086}, {30, 2.042}, {60, 2.000}, {120, 1.980}};
  double t = kTable[0].second;
  for (const auto& [from, quantile] : kTable) {
    if (degrees >= from) t = quantile;
  }
  return t;
}

}  // namespace hg
