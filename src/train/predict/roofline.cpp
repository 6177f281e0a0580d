#include "train/predict/roofline.h"

#include <algorithm>

#include "dist/collectives.h"
#include "ops/attention.h"
#include "ops/fp8.h"
#include "ops/grouped_linear.h"
#include "ops/linear.h"
#include "train/fp8_support.h"

namespace hg {
namespace {

constexpr std::string_view kFp8 = Fp8Product::name;

/// What tensor cores do, in the model's precision.
constexpr std::string_view kProducts[] = {
    LinearForward::name,        LinearBackwardInput::name,        LinearBackwardWeight::name,
    GroupedLinearForward::name, GroupedLinearBackwardInput::name, GroupedLinearBackwardWeight::name,
    AttentionForward::name,     AttentionBackward::name};
/// What ranks do together: bytes are those that a rank sends.
constexpr std::string_view kCollectives[] = {AllReduce::name, ReduceScatter::name, AllGather::name,
                                             AllToAll::name};

bool is_product(std::string_view op) {
  return std::ranges::find(kProducts, op) != std::end(kProducts);
}
bool is_collective(std::string_view op) {
  return std::ranges::find(kCollectives, op) != std::end(kCollectives);
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
  const bool exchange = is_collective(name);
  if (exchange) {
    bytes = times * op.cost.bytes / link;
    flops = 0;
  }
  result.bound = exchange ? "links" : bytes >= flops ? "memory" : "products";
  result.seconds = std::max({bytes, flops, calls * least});
  return result;
}

/// Elements of a rank's parameters, however ranks share their state.
struct RankElements {
  std::int64_t experts = 0, others = 0;
};

RankElements elements_of(const ModelConfig& config, const MeshShape& shape, int rank) {
  ParamStore store(Mesh::place(shape, rank));
  const Transformer model(config, store);
  RankElements elements;
  for (const ParamSpec& spec : store.specs())
    (spec.split == Split::experts ? elements.experts : elements.others) += spec.numel();
  return elements;
}

/// Bytes that a rank sends in a step for the gradients of so many elements, which `ranks` hold
/// alike, and for weights that others updated.
double exchanged_bytes(ZeroStage stage, std::int64_t elements, int ranks, double micro_batches) {
  const double part = (ranks - 1.0) / ranks * static_cast<double>(elements);
  const double gradient = sizeof(float) * part, weight = 2 * part;
  switch (stage) {
    case ZeroStage::none:
      return 2 * gradient;
    case ZeroStage::optimizer:
      return gradient + weight;
    case ZeroStage::gradients:
      return micro_batches * gradient + weight;
    case ZeroStage::weights:  // which come together for forward and for backward
      return micro_batches * (gradient + 2 * weight);
  }
  return 0;
}

}  // namespace

double light_seconds(std::string_view op, const Cost& cost, const GpuSpecs& gpu, DType dtype) {
  if (is_collective(op)) return cost.bytes / gpu.link_speed;
  const bool tensor_cores = is_product(op) && dtype == DType::bf16;
  const double flops = op == kFp8 ? gpu.fp8_flops : tensor_cores ? gpu.bf16_flops : gpu.f32_flops;
  return std::max(cost.bytes / gpu.memory_speed, cost.flops / flops);
}

StepPrediction predict_step(const RunConfig& config, const StepPlan& plan, const MeshShape& shape,
                            int rank, const GpuSpecs& gpu, double flops_per_token,
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
  const ZeroStage stage = zero_stage(config);
  const RankElements held = elements_of(config.model, shape, rank);
  const double bytes =
      exchanged_bytes(stage, held.others, shape.data * shape.context, micro_batches) +
      exchanged_bytes(stage, held.experts, shape.stage_size() / shape.expert, micro_batches);
  result.exchange = bytes / (one_node ? speeds.inner : speeds.outer);
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
