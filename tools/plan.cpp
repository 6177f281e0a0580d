// headgate plan: parameters, memory and work of a config, from a meta run that allocates nothing.
#include "commands.h"
#include "config_options.h"
#include "model/flops.h"
#include "train/layout.h"
#include "train/predict/roofline.h"
#include "train/run_model.h"

namespace hg::tools {
namespace {

constexpr double kMi = 1024.0 * 1024.0;

void print_parameters(const StepPlan& plan, const MoeConfig& moe) {
  fmt::print("parameters\n");
  for (const auto& part : plan.parameters) {
    fmt::print("  {:<24} {:>14.3f} M\n", part.kind, static_cast<double>(part.numel) / 1e6);
  }
  fmt::print("  {:<24} {:>14.1f} M\n", "total", static_cast<double>(plan.total_parameters()) / 1e6);
  if (moe.num_experts == 0) return;
  fmt::print("  {:<24} {:>14.1f} M  {} of {} experts, all else whole, embedding and head too\n",
             "for each token", plan.active_parameters / 1e6, moe.top_k, moe.num_experts);
}

/// What experts take: memory is planned for the most that a router may send, work is counted for an
/// even load.
void print_experts(const RunConfig& config, const MeshShape& shape) {
  const MoeConfig& moe = config.model.moe;
  if (moe.num_experts == 0) return;
  const std::int64_t tokens = config.training.micro_batch_size * config.training.seq_len /
                              shape.context / (shape.sequence ? shape.tensor : 1);
  fmt::print("experts of a layer\n");
  fmt::print("  {:<24} {:>14}    {} tokens of a micro-batch, {} experts each\n",
             shape.expert == 1 ? "rows, always" : "rows, if loads are even", tokens * moe.top_k,
             tokens, moe.top_k);
  if (shape.expert > 1) {
    const std::int64_t of_rank =
        moe.capacity_factor > 0
            ? std::min(tokens * moe.top_k, moe.num_experts / shape.expert * moe.capacity(tokens))
            : tokens * moe.top_k;
    fmt::print("  {:<24} {:>14}    of {} ranks: memory is planned for it\n", "rows, at most",
               shape.expert * of_rank, shape.expert);
  }
  const std::int64_t most =
      moe.capacity_factor > 0 ? std::min(tokens, moe.capacity(tokens)) : tokens;
  fmt::print("  {:<24} {:>14}    {}\n", "rows of one, at most", shape.expert * most,
             moe.capacity_factor > 0 ? "its capacity; more are dropped" : "every token chooses it");
}

void print_memory(const StepPlan& plan, std::size_t most_entries) {
  fmt::print("memory of one device, MiB\n");
  for (const auto& part : plan.memory) {
    fmt::print("  {:<24} {:>14.1f}\n", part.name, static_cast<double>(part.bytes) / kMi);
    for (std::size_t i = 0; i < std::min(most_entries, part.entries.size()); ++i) {
      fmt::print("    {:<22} {:>14.1f}\n", part.entries[i].label,
                 static_cast<double>(part.entries[i].bytes) / kMi);
    }
  }
  fmt::print("  {:<24} {:>14.1f}\n", "total", static_cast<double>(plan.total_bytes()) / kMi);
}

void print_work(const RunConfig& config, const StepPlan& plan) {
  const double per_token =
      model_flops_per_token(config.model, *declare_model(config.model), config.training.seq_len);
  const double tokens =
      static_cast<double>(config.training.global_batch_size * config.training.seq_len);
  fmt::print("work\n");
  fmt::print("  {:<24} {:>14.3f} GFLOP  6 N + 12 L H Q T (PaLM)\n", "training, per token",
             per_token / 1e9);
  fmt::print("  {:<24} {:>14.3f} TFLOP  {} tokens\n", "per step", per_token * tokens / 1e12,
             tokens);
  const double micro_tokens =
      static_cast<double>(config.training.micro_batch_size * config.training.seq_len);
  fmt::print(
      "  {:<24} {:>14.3f} GFLOP  what the ops run, attention causal, recomputation counted\n",
      "executed, per token", plan.trace.total().cost.flops / micro_tokens / 1e9);
}

void print_prediction(const RunConfig& config, const StepPlan& plan, const MeshShape& shape,
                      int rank, const GpuSpecs& gpu, std::size_t most_ops) {
  const RooflineAssumptions assumed;
  const StepPrediction step = predict_step(
      config, plan, shape, rank, gpu,
      model_flops_per_token(config.model, *declare_model(config.model), config.training.seq_len),
      assumed);
  const double memory = static_cast<double>(plan.total_bytes());
  fmt::print("a step on {} x {}, predicted\n", shape.size(), gpu.name);
  const auto row = [](const char* name, double seconds, const std::string& words) {
    fmt::print("  {:<24} {:>14.3f} ms     {}\n", name, 1e3 * seconds, words);
  };
  row("ops", step.compute,
      fmt::format("{} micro-batches", config.training.accumulation_steps(shape.data)));
  for (std::size_t i = 0; i < std::min(most_ops, step.ops.size()); ++i) {
    const OpPrediction& op = step.ops[i];
    fmt::print("    {:<22} {:>14.3f} ms     {} calls, bound by {}\n", op.name, 1e3 * op.seconds,
               op.calls, op.bound);
  }
  if (shape.pipeline > 1) row("waiting in the pipeline", step.waiting, "");
  row("exchange between ranks", step.exchange,
      fmt::format("of which nothing hides {:.3f} ms", 1e3 * step.exposed));
  row("step", step.seconds,
      fmt::format("{:.0f} tokens/s for each GPU, MFU {:.1f} %", step.tokens_per_second,
                  100 * step.mfu));
  fmt::print("  {:<24} {:>14.1f} GiB    {} {:.1f}\n", "memory", memory / kMi / 1024,
             memory <= gpu.memory ? "of" : "MORE THAN the GPU's", gpu.memory / kMi / 1024);
  fmt::print(
      "  assumed: {:.0f} TFLOP/s in bf16{}, {:.0f} GB/s of memory, {:.0f} GB/s to GPUs of the "
      "node,\n"
      "  {:.0f} GB/s to others ({} GPUs a node); products reach {:.0f} % of the peak, other ops\n"
      "  {:.0f} % of memory speed, links {:.0f} %; an op takes {:.0f} us at least. No GPU has\n"
      "  confirmed any of it\n",
      gpu.bf16_flops / 1e12,
      config.training.fp8 == Fp8::off ? ""
                                      : fmt::format(" and {:.0f} in FP8", gpu.fp8_flops / 1e12),
      gpu.memory_speed / 1e9, gpu.link_speed / 1e9, gpu.network_speed / 1e9, gpu.in_node,
      100 * assumed.product_share, 100 * assumed.memory_share, 100 * assumed.network_share,
      1e6 * assumed.least_seconds);
}

/// As many as were asked for; or what the config says itself.
int ranks_of(const ParallelismConfig& parallelism, int asked) {
  if (asked > 0) return asked;
  return static_cast<int>(parallelism.pipeline * parallelism.data.value_or(1) *
                          parallelism.context * parallelism.tensor);
}

struct RankPlan {
  int rank;
  StepPlan plan;
};

/// Of the first rank of each pipeline stage, the one that needs the most memory: ranks of a stage
/// need as much.
RankPlan plan_of_largest(const RunConfig& config, const MeshShape& shape) {
  std::optional<RankPlan> largest;
  for (int rank = 0; rank < shape.size(); rank += shape.stage_size()) {
    RankPlan next{rank, plan_step(config, detect_cpu(), Mesh::place(shape, rank))};
    if (!largest || next.plan.total_bytes() > largest->plan.total_bytes())
      largest = std::move(next);
  }
  return std::move(*largest);
}

}  // namespace

void add_plan(CLI::App& app) {
  auto* command =
      app.add_subcommand("plan", "Parameters, memory and work of a config, without running it");
  const auto options = std::make_shared<ConfigOptions>();
  options->add_to(*command, true);
  const auto entries = std::make_shared<std::size_t>(4);
  command->add_option("--entries", *entries, "Rows shown of what is live at an arena's peak");
  const auto ranks = std::make_shared<int>(0);
  command->add_option("--ranks", *ranks,
                      "Ranks to plan for; default: the fewest that the config allows");
  const auto gpu = std::make_shared<std::string>();
  command->add_option("--gpu", *gpu, "Predict a step on these GPUs: a100, h100, h200, b200");
  command->add_option("--gpus", *ranks, "How many of them: as --ranks");
  command->callback([options, entries, ranks, gpu] {
    if (!gpu->empty()) options->overrides.push_back("training.device=cuda");
    const auto loaded = options->load();
    const GpuSpecs* specs = gpu->empty() ? nullptr : &gpu_specs(*gpu);
    const MeshShape shape = layout_of(loaded.value, ranks_of(loaded.value.parallelism, *ranks));
    const auto [rank, plan] = plan_of_largest(loaded.value, shape);
    if (shape.size() > 1)
      fmt::print("rank {} of {}{}: {}\n", rank, shape.size(),
                 shape.pipeline > 1 ? ", on the stage that needs the most memory" : "",
                 shape.to_string());
    print_parameters(plan, loaded.value.model.moe);
    print_experts(loaded.value, shape);
    print_memory(plan, *entries);
    print_work(loaded.value, plan);
    if (specs != nullptr) print_prediction(loaded.value, plan, shape, rank, *specs, 2 * *entries);
  });
}

}  // namespace hg::tools
