// A small run on simulated GPUs, through the sources of the modules that real ones are reached by.
#pragma once

#include <map>
#include <set>

#include "cuda_sim/simulation.h"
#include "dist/run_ranks.h"
#include "support/small_run.h"

extern "C" const hg::GpuModule* headgate_gpu_module();
extern "C" const hg::NcclApi* headgate_nccl_api();

namespace hg::test {

class GpuRun : public SmallRun {
 protected:
  /// A rank on each device of a machine of its own. Returns what that has counted.
  cuda_sim::Simulation::Counts run_on_gpus(const std::string& name,
                                           const cuda_sim::Options& options) {
    config.training.device = Device::cuda;
    const cuda_sim::Simulation simulation(options);
    const std::string resolved = to_yaml(config);
    run_ranks(options.devices, [&](Comm& world) {
      train(config,
            {.folder = folder / name,
             .resolved_config = resolved,
             .console = nullptr,
             .world = &world,
             .gpu = {.device = world.rank(), .module = module, .nccl = headgate_nccl_api()}});
    });
    EXPECT_EQ(cuda_sim::Simulation::left_over(), 0U);
    return cuda_sim::Simulation::counts();
  }

  const GpuModule* module = headgate_gpu_module();

  /// Rows of the runs "cpu" and "cuda", of the same steps. A run that was resumed has validated
  /// twice where it was.
  void expect_same_rows(const std::string& kind, const std::vector<std::string>& values,
                        double tolerance) {
    std::map<std::int64_t, nlohmann::json> cpu;
    for (const auto& row : rows("cpu", kind)) cpu[row.at("step")] = row;
    std::set<std::int64_t> steps;
    for (const auto& row : rows("cuda", kind)) {
      const std::int64_t step = row.at("step");
      EXPECT_TRUE(steps.insert(step).second || kind == "val") << kind << " at step " << step;
      ASSERT_TRUE(cpu.contains(step)) << kind << " at step " << step;
      for (const std::string& name : values) {
        if (!cpu[step].contains(name)) continue;
        const double expected = cpu[step].at(name);
        EXPECT_NEAR(row.at(name), expected, tolerance * std::max(1e-2, std::abs(expected)))
            << name << " at step " << step;
      }
    }
    ASSERT_FALSE(steps.empty()) << kind;
    EXPECT_EQ(steps.size(), cpu.size()) << kind;
  }
};

}  // namespace hg::test
