// What every communicator must do, as functions that each rank runs and that throw: for threads in
// a GoogleTest and for processes under mpirun.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "dist/comm.h"

namespace hg::test {

struct CollectiveCheck {
  std::string name;  // "all_reduce_sum_bf16"
  std::function<void(Comm&)> run;
};

/// For GoogleTest.
inline void PrintTo(const CollectiveCheck& check, std::ostream* out) { *out << check.name; }

/// Every collective with every element type it has, each at several sizes.
std::vector<CollectiveCheck> collective_checks();
/// What communicators on host memory promise besides: sums in rank order, and a maximum that keeps
/// NaN.
std::vector<CollectiveCheck> host_checks();

}  // namespace hg::test
