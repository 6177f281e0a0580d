#include "train/predict/roofline.h"

#include <algorithm>

#include "ops/fp8.h"
#include "train/fp8_support.h"

namespace hg {
namespace {

constexpr std::string_view kFp8 = Fp8Product::name;

/// Whether tensor cores do it, in the model's precision.
bool is_product(std::string_view op) {
  return op.starts_with("linear_") || op.starts_with("grouped_linear_") ||
         op.starts_with("attention_");
}

/// Whether ranks do it together; then its bytes are those that a rank sends.
bool is_collective(std::string_view op) {
  return op == "all_reduce" || op == "reduce_scatter" || op == "all_gather" || op == "all_to_all";
}

struct Speeds {
  double flops, product, fp8, memory, inner, outer;  // per second, as assumed; links, network
};

OpPrediction predict(std::string_view name, const Trace::Entry& op, double times,
                     const Speeds& speeds, double link, double least) {
  OpPrediction result{.name = std::string(name)};
  const double calls = times * static_cast<double>(op.calls);
  result.calls = static_cast<std::int64_t>(calls);
  double bytes = times * op.cost.bytes / speeds.memory;
  double flops = times * op.cost.flops /
                 (name == kFp8       ? speeds.fp8
                  : is_product(name) ? speeds.product
                                     : speeds.flops);
  if (is_collective(name)) {
    bytes = times * op.cost.bytes / link;
    flops = 0;
  }
  result.by_memory = bytes >= flops;
  result.seconds = std::max({bytes, flops, calls * least});
  return result;
}

/// Bytes that a rank sends in a step for gradients, and for weights that others updated.
double exchanged_bytes(const RunConfig& config, const StepPlan& plan, const MeshShape& shape,
                       double micro_batches) {
  const double n = shape.data * shape.context;
  const auto of = [&](const char* name) {
    double sum = 0;
    for (const auto& part : plan.memory)
      if (part.name == name) sum += static_cast<double>(part.bytes);
    return sum;
  };
  // Elements of this rank's parameters, however ranks share them.
  const int stage = static_cast<int>(config.parallelism.zero_stage);
  const double elements = of("adam m") / sizeof(float) * (stage >= 1 ? n : 1);
  const double part = (n - 1) / n, weight = 2 * part * elements;
  const double gradient = static_cast<double>(sizeof(float)) * part * elements;
  switch (stage) {
    case 0:
      return 2 * gradient;
    case 1:
      return gradient + weight;
    case 2:
      return micro_batches * gradient + weight;
    default:  // weights come together for forward and for backward
      return micro_batches * (gradient + 2 * weight);
  }
}

}  // namespace

double light_seconds(std::string_view op, const Cost& cost, const GpuSpecs& gpu, DType dtype) {
  if (is_collective(op)) return cost.bytes / gpu.link_speed;
  const bool tensor_cores = is_product(op) && dtype == DType::bf16;
  const double flops = op == kFp8 ? gpu.fp8_flops : tensor_cores ? gpu.bf16_flops : gpu.f32_flops;
  return std::max(cost.bytes / gpu.memory_speed, cost.flops / flops);
}

StepPrediction predict_step(const RunConfig& config, const StepPlan& plan, const MeshShape& shape,
                            const GpuSpecs& gpu, double flops_per_token,
                            const RooflineAssumptions& assumed) {
  check_fp8(config.training.fp8, gpu.architecture, std::string(gpu.name));
  const double precision =
      config.training.precision == Precision::f32 ? gpu.f32_flops : gpu.bf16_flops;
  const Speeds speeds{.flops = gpu.f32_flops,
                      .product = precision * assumed.product_share,
                      .fp8 = gpu.fp8_flops * assumed.product_share,
                      .memory = gpu.memory_speed * assumed.memory_share,
                      .inner = gpu.link_speed * assumed.network_share,
                      .outer = gpu.network_speed * assumed.network_share};
  const auto micro_batches = static_cast<double>(config.training.accumulation_steps(shape.data));
  // Ranks that share layers, tokens or experts are neighbours.
  const int neighbours = std::max(shape.tensor * shape.context, shape.expert);
  const double link = neighbours <= gpu.in_node ? speeds.inner : speeds.outer;

  StepPrediction result;
  const auto add = [&](const Trace& trace, double times) {
    double sum = 0;
    for (const auto& [name, op] : trace.entries()) {
      result.ops.push_back(predict(name, op, times, speeds, link, assumed.least_seconds));
      sum += result.ops.back().seconds;
    }
    return sum;
  };
  const double passes = add(plan.trace, micro_batches);
  const double update = add(plan.update_trace, 1);
  std::ranges::sort(result.ops, std::greater{}, &OpPrediction::seconds);
  result.compute = passes + update;
  result.waiting = passes * (shape.pipeline - 1) / (shape.chunks * micro_batches);
  const bool one_node = shape.size() <= gpu.in_node;
  result.exchange = exchanged_bytes(config, plan, shape, micro_batches) /
                    (one_node ? speeds.inner : speeds.outer);
  // ZeRO 0 to 2 exchange beside the backward of the last micro-batch, or of each; 3 beside all.
  const double beside = config.parallelism.zero_stage >= 2 ? passes : passes / micro_batches;
  result.exposed = std::max(0.0, result.exchange - beside * 2 / 3);
  result.seconds = result.compute + result.waiting + result.exposed;
  const auto tokens =
      static_cast<double>(config.training.global_batch_size * config.training.seq_len);
  result.tokens_per_second = tokens / shape.size() / result.seconds;
  result.mfu = result.tokens_per_second * flops_per_token / gpu.bf16_flops;
  return result;
}

}  // namespace hg
