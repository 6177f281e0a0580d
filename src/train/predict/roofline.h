// How long a step takes on GPUs that are not there, by the roofline of the very ops that run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dist/mesh.h"
#include "train/predict/gpu_specs.h"
#include "train/run_model.h"

namespace hg {

/// What of a GPU's speed ops are taken to reach, and what else is assumed; printed with every
/// prediction.
struct RooflineAssumptions {
  double product_share = 0.7;   ///< of tensor cores, by matrix products and attention
  double memory_share = 0.8;    ///< of memory speed, by everything else
  double network_share = 0.8;   ///< of links and networks
  double least_seconds = 3e-6;  ///< an op takes no less
};

/// Seconds that an op's work takes at the full speed of the GPU: its speed of light.
double light_seconds(std::string_view op, const Cost& cost, const GpuSpecs& gpu, DType dtype);

struct OpPrediction {
  std::string name;
  std::int64_t calls = 0;       // of a step
  double seconds = 0;           // of a step
  std::string_view bound = {};  // what bounds it: "products", "memory" or "links"
};

struct StepPrediction {
  std::vector<OpPrediction> ops;  // longest first
  double compute = 0;             // seconds of all ops of a step
  double waiting = 0;             // of the pipeline
  double exchange = 0;            // of gradients and weights between ranks with the same parameters
  double exposed = 0;             // what of that backward does not hide
  double seconds = 0;             // of a step
  double mfu = 0;                 // model FLOPs over the bf16 peak
  double tokens_per_second = 0;   // of one GPU
};

/// `plan` is of this rank of the mesh, for a GPU. `flops_per_token` as model_flops_per_token.
StepPrediction predict_step(const RunConfig& config, const StepPlan& plan, const MeshShape& shape,
                            int rank, const GpuSpecs& gpu, double flops_per_token,
                            const RooflineAssumptions& assumed = {});

}  // namespace hg
