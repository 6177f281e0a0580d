#include "core/parallel.h"
#include "train/selftest/selftest.h"
#include "train/selftest/selftest_step.h"

namespace hg {
namespace {

/// The loss and every gradient, one behind the other.
struct StepResults {
  std::vector<std::string> names;
  std::vector<std::vector<float>> values;
};

StepResults results_of(const RunConfig& config, const CpuInfo& cpu) {
  SelftestStep model(config, cpu);
  StepResults results{.names = {"loss"}, .values = {{static_cast<float>(model.run())}}};
  for (const ParamState& state : model.states()) {
    const auto* g = state.gradient.as<float>();
    results.names.push_back("gradient of " + state.spec.name);
    results.values.emplace_back(g, g + state.gradient.numel());
  }
  return results;
}

SelftestResult compare(std::string what, const StepResults& found, const StepResults& expected,
                       double limit) {
  SelftestResult worst{
      .part = "machine", .what = std::move(what), .error = 0, .limit = limit, .where = {}};
  for (std::size_t i = 0; i < expected.values.size(); ++i)
    worst.see(relative_distance(found.values[i], expected.values[i]), expected.names[i]);
  return worst;
}

}  // namespace

void check_machine(const SelftestReport& report) {
  const CpuInfo cpu = detect_cpu();
  const int threads = num_threads();
  for (auto& [name, config] : selftest_models()) {
    const bool experts = name == "experts, softmax router";
    if (!experts && name != "gate at sdpa, elementwise") continue;
    const StepResults expected = results_of(config, cpu);
    set_num_threads(1);
    report(compare(fmt::format("1 thread and {}: {}", threads, experts ? "experts" : "dense"),
                   results_of(config, cpu), expected, 0));
    set_num_threads(threads);
    if (cpu.isa == Isa::avx512) {
      CpuInfo less = cpu;
      less.isa = Isa::avx2;
      less.avx512_bf16 = less.amx_bf16 = false;
      report(compare(fmt::format("AVX2 and AVX-512: {}", experts ? "experts" : "dense"),
                     results_of(config, less), expected, 1e-4));
    }
    if (experts) continue;  // in bf16 a token may choose another expert
    config.training.precision = Precision::bf16;
    report(compare("bf16 and f32: dense", results_of(config, cpu), expected, 5e-2));
  }
}

}  // namespace hg
