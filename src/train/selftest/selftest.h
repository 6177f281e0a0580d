// headgate selftest: what the tests prove when headgate is built, once more on the user's machine
// with the kernels that it chooses. Small models, seconds.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "train/config.h"

namespace hg {

/// One comparison: the largest relative error found, and where.
struct SelftestResult {
  std::string part;  // "gradients"
  std::string what;  // "gate at sdpa, headwise"
  double error, limit;
  std::string where;  // a parameter, a step

  /// Takes an error, and where it is, if it is the largest so far; nothing is larger than NaN.
  void see(double found, std::string found_where);
  bool ok() const { return error <= limit; }  // false for NaN
  std::string to_string() const;
};
using SelftestReport = std::function<void(const SelftestResult&)>;

/// A small model, and what is special about it.
struct SelftestModel {
  std::string name;
  RunConfig config;
};
/// Without a gate, with gates at every place, with other norms, with experts: each op of training
/// is in one of them.
std::vector<SelftestModel> selftest_models();

/// The gradient of every parameter against finite differences of the loss: along the gradient, the
/// even elements by themselves and the odd ones. Without the routers' balance losses, which are
/// part of gradients and not of the loss.
void check_gradients(const SelftestReport& report);
/// One step with all threads against one thread; with AVX-512 against AVX2, where there is both; in
/// bf16 against f32.
void check_machine(const SelftestReport& report);
/// A few optimizer steps on ranks that are threads against the same on one, for a list of layouts.
/// Writes token data to a temporary folder.
void check_layouts(const SelftestReport& report);

}  // namespace hg
