// Values over the steps of a run, and what a chart of a few hundred pixels keeps of them.
#pragma once

#include <cstdint>
#include <vector>

namespace hg {

/// By ascending steps, no step twice. What is not finite is NaN.
struct Series {
  std::vector<double> steps = {}, values = {};

  std::size_t size() const { return steps.size(); }
  bool empty() const { return steps.empty(); }
  void add(double step, double value) {
    steps.push_back(step);
    values.push_back(value);
  }
};

/// Sorts by steps. Of a step that is there several times the last value counts, as after a resume.
void put_in_order(Series& series);

/// Exponential moving average over values: s = alpha s + (1 - alpha) x, beginning with the first x
/// (alpha = 0.9 is what figure 1 of arXiv 2505.06708 shows). NaN stays NaN and is passed over.
Series smooth(const Series& series, double alpha = 0.9);

/// At most 5 points for each of `buckets` equal parts of [first, last]: the first, the last, the
/// lowest and the highest, so that a line through them covers the same pixels as one through all
/// (M4: Jugel et al., VLDB 2014), and the first NaN, which interrupts the line. A spike of a single
/// step is always among them. Points outside are left out; a series that is short stays as it is.
Series downsample(const Series& series, double first, double last, std::size_t buckets);

/// The median of the finite values in each of `bins` equal parts of [first, last], at the part's
/// middle; NaN for a part without any.
Series binned_medians(const Series& series, double first, double last, std::size_t bins);

/// a - b, of two series with the same steps.
Series difference(const Series& a, const Series& b);

/// The mean over series with the same steps.
Series mean_of(const std::vector<Series>& series);

/// Mean of the finite ones among the last `count` values; NaN if there are none.
double mean_of_last(const Series& series, std::size_t count);
/// The last finite value; the lowest; the highest; the median; NaN if there is none.
double last_of(const Series& series);
double least_of(const Series& series);
double most_of(const Series& series);
double median_of(const Series& series);

}  // namespace hg
