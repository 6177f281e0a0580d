#include <algorithm>
#include <cmath>

#include "train/selftest/selftest.h"
#include "train/selftest/selftest_step.h"

namespace hg {
namespace {

// Losses are sums of f32: differences below this are noise.
constexpr double kNoise = 2e-3;

double rms(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * double{value};
  return std::sqrt(sum / static_cast<double>(values.size()));
}

}  // namespace

double derivative_error(SelftestStep& model, const ParamState& state, std::int64_t parity) {
  const std::int64_t n = state.master.numel();
  auto* w = state.master.as<float>();
  const auto* g = state.gradient.as<float>();
  const std::vector<float> before(w, w + n);
  double slope = 0;  // the derivative along the gradient, which is the sum of its squares
  for (std::int64_t i = parity; i < n; i += 2) slope += double{g[i]} * double{g[i]};
  if (slope == 0) return 0;
  // A change of the loss that f32 sees well, but weights change by a few per cent at most.
  const double most = 0.03 * rms(before) / rms({g, static_cast<std::size_t>(n)});
  const double step = std::min(0.05 / slope, most);
  const auto loss_at = [&](double times) {
    for (std::int64_t i = parity; i < n; i += 2)
      w[i] = static_cast<float>(double{before[static_cast<std::size_t>(i)]} +
                                times * step * double{g[i]});
    return model.loss();
  };
  // The differences of both widths cancel the third derivative.
  const double near = (loss_at(1) - loss_at(-1)) / 2, far = (loss_at(2) - loss_at(-2)) / 4;
  std::ranges::copy(before, w);
  const double expected = step * slope;
  return std::abs((4 * near - far) / 3 - expected) / std::max(kNoise, expected);
}

void check_gradients(const SelftestReport& report) {
  for (auto& [name, config] : selftest_models()) {
    // A token that chooses another expert is a jump in the loss; who has all has no choice.
    config.model.moe.top_k = config.model.moe.num_experts;
    SelftestStep model(config, detect_cpu());
    model.run();
    SelftestResult worst{.part = "gradients", .what = name, .error = 0, .limit = 1e-2, .where = {}};
    for (const ParamState& state : model.states()) {
      for (const std::int64_t parity : {0, 1})
        worst.see(derivative_error(model, state, parity), state.spec.name);
    }
    report(worst);
  }
}

}  // namespace hg
