// The median of some values, as everything here that reports one takes it.
#pragma once

#include <vector>

namespace hg {

/// The value in the middle; of an even number, the mean of the two there. NaN without values. None
/// of them may be NaN, which has no place in an order.
double median(std::vector<double> values);

}  // namespace hg
