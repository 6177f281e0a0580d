// Means over seeds, and whether two of them differ by more than seeds do.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <string>

namespace hg {

/// Mean of the finite ones among some values and its standard error s / sqrt(n), with s the
/// standard deviation of a sample (divided by n - 1). One value has no standard error (NaN), none
/// have no mean.
struct Spread {
  std::size_t count = 0;
  double mean = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();
};
Spread spread_of(std::span<const double> values);

/// The difference of two means, by Student's t test at 5 %, two-sided, with the spread of both
/// sides taken together (a seed moves either alike): it can be told from 0 if it is farther from it
/// than `limit`, which is t(0.975, na + nb - 2) standard errors of the difference.
struct Difference {
  enum class Verdict {
    unknown,              ///< a side has fewer than two values: nothing is known of their spread
    not_distinguishable,  ///< |value| <= limit
    distinguishable
  };
  double value = std::numeric_limits<double>::quiet_NaN();
  double standard_error = std::numeric_limits<double>::quiet_NaN();
  double limit = std::numeric_limits<double>::quiet_NaN();
  Verdict verdict = Verdict::unknown;
};
/// a - b.
Difference compare(const Spread& a, const Spread& b);

/// The end of a sentence about a difference, which says whether chance explains it.
std::string chance_text(const Difference& difference);

/// The 97.5 % quantile of Student's t distribution with so many degrees of freedom, from a table
/// that takes the next lower one it has: never too small.
double student_t975(double degrees);

}  // namespace hg
