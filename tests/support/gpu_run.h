// A small run on simulated GPUs, through the sources of the modules that real ones are reached by.
#pragma once

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
      train(config, {.folder = folder / name,
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world,
                     .gpu = {.device = world.rank(),
                             .module = headgate_gpu_module(),
                             .nccl = headgate_nccl_api()}});
    });
    EXPECT_EQ(cuda_sim::Simulation::left_over(), 0U);
    return cuda_sim::Simulation::counts();
  }

  /// Rows of the runs "cpu" and "cuda".
  void expect_same_rows(const std::string& kind, const std::vector<std::string>& values,
                        double tolerance) {
    const auto cpu = rows("cpu", kind), cuda = rows("cuda", kind);
    ASSERT_EQ(cpu.size(), cuda.size()) << kind;
    ASSERT_FALSE(cpu.empty()) << kind;
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      for (const std::string& name : values) {
        if (!cpu[i].contains(name)) continue;
        const double expected = cpu[i].at(name);
        EXPECT_NEAR(cuda[i].at(name), expected, tolerance * std::max(1e-2, std::abs(expected)))
            << name << " at step " << cpu[i].at("step");
      }
    }
  }
};

}  // namespace hg::test
