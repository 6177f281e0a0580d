// headgate bench: speed of training steps at fixed sizes or of a config, and where the time goes.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench_ops.h"
#include "commands.h"
#include "config_options.h"
#include "core/gpu_module.h"
#include "core/parallel.h"
#include "train/bench/bench.h"
#include "train/bench/bench_checkpoint.h"
#include "train/predict/roofline.h"

namespace hg::tools {
namespace {

struct BenchOptions {
  ConfigOptions config;
  std::vector<std::string> sizes{"tiny", "small"};
  std::string device = "cpu", precision, op, against, checkpoint;
  std::int64_t steps = 10, warmup = 3;
  int threads = 0;
  bool instruments = false, json = false;
};

Precision parse_precision(const std::string& name) {
  for (const auto& [value, text] : EnumNames<Precision>::values) {
    if (text == name) return value;
  }
  fail("--precision is '{}', expected auto, f32 or bf16", name);
}

using Ops = std::vector<std::pair<std::string_view, Trace::Entry>>;

Ops all_ops(const Trace& trace) { return {trace.entries().begin(), trace.entries().end()}; }

/// The calls that steps with a look make beyond those of other steps.
Ops ops_of_look(const BenchResult& result) {
  Ops ops = all_ops(result.look->trace);
  for (auto& [name, op] : ops) {
    const auto found = result.trace.entries().find(name);
    if (found == result.trace.entries().end()) continue;
    const std::int64_t more = op.calls - found->second.calls;
    op.seconds *= static_cast<double>(more) / static_cast<double>(op.calls);
    op.cost.flops -= found->second.cost.flops;
    op.cost.bytes -= found->second.cost.bytes;
    op.calls = more;
  }
  std::erase_if(ops, [](const auto& op) { return op.second.calls == 0; });
  return ops;
}

double milliseconds_of_step(const Trace::Entry& op, const BenchResult& result) {
  return op.seconds / static_cast<double>(result.steps) * 1e3;
}

/// With the share of the speed of light, where the GPU is one of those whose speed is known.
void print_ops(const char* title, Ops ops, const BenchResult& result, const GpuSpecs* gpu = nullptr,
               DType dtype = DType::f32) {
  std::ranges::sort(
      ops, [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  double total = 0;
  for (const auto& [name, op] : ops) total += op.seconds;
  fmt::print("  {:<26} {:>6} {:>9} {:>7} {:>9} {:>8}{}\n", title, "calls", "ms/step", "share",
             "GFLOP/s", "GB/s", gpu != nullptr ? "  of light" : "");
  for (const auto& [name, op] : ops) {
    fmt::print("  {:<26} {:>6} {:>9.3f} {:>6.1f}% {:>9.1f} {:>8.1f}", name, op.calls / result.steps,
               milliseconds_of_step(op, result), 100 * op.seconds / total,
               op.cost.flops / op.seconds / 1e9, op.cost.bytes / op.seconds / 1e9);
    if (gpu != nullptr)
      fmt::print(" {:>8.1f}%", 100 * light_seconds(name, op.cost, *gpu, dtype) / op.seconds);
    fmt::print("\n");
  }
}

void print_look(const BenchResult& result) {
  const LookCost& look = *result.look;
  fmt::print(
      "  a look costs {:.1f} ms, {:.1f} % of a step, and its details {:.1f} ms; every {} and {} "
      "steps: {:.2f} %\n",
      look.seconds * 1e3, 100 * look.seconds / result.seconds, look.details_seconds * 1e3,
      look.interval, look.details_interval, 100 * look.share(result.seconds));
  print_ops("op of a look", ops_of_look(result), result);
}

void print(const std::string& size, DType dtype, const BenchResult& result, const GpuSpecs* gpu) {
  const double rate = result.flops / result.seconds;
  fmt::print(
      "{} {}: {:.1f} ms/step ({:.1f} to {:.1f})  {:.0f} tokens/s  {:.1f} GFLOP/step -> {:.0f} "
      "GFLOP/s\n",
      size, name_of(dtype), result.seconds * 1e3, result.least * 1e3, result.most * 1e3,
      result.tokens_per_second, result.flops / 1e9, rate / 1e9);
  fmt::print(
      "  speed of light {:.1f}% of {:.0f} GFLOP/s (measured matrix product)  peak memory {:.0f} "
      "MiB "
      "(planned {:.0f})  loss {:.3f} -> {:.3f}\n",
      100 * rate / result.gemm_ceiling, result.gemm_ceiling / 1e9,
      static_cast<double>(result.peak_rss) / (1024.0 * 1024.0),
      static_cast<double>(result.planned) / (1024.0 * 1024.0), result.first_loss, result.last_loss);
  print_ops("op", all_ops(result.trace), result, gpu, dtype);
  if (result.look) print_look(result);
}

void print_json(const std::string& size, DType dtype, const BenchResult& result) {
  nlohmann::ordered_json row = {{"size", size},
                                {"dtype", name_of(dtype)},
                                {"threads", num_threads()},
                                {"ms", result.seconds * 1e3},
                                {"tokens_per_second", result.tokens_per_second},
                                {"gflop", result.flops / 1e9},
                                {"gemm_ceiling_gflops", result.gemm_ceiling / 1e9},
                                {"peak_rss_bytes", result.peak_rss}};
  for (const auto& [name, op] : result.trace.entries()) {
    row["ops_ms"][std::string(name)] = milliseconds_of_step(op, result);
  }
  if (result.look) {
    const LookCost& look = *result.look;
    row["look"] = {{"ms", look.seconds * 1e3},
                   {"details_ms", look.details_seconds * 1e3},
                   {"interval", look.interval},
                   {"details_interval", look.details_interval},
                   {"share", look.share(result.seconds)}};
    for (const auto& [name, op] : ops_of_look(result))
      row["look"]["ops_ms"][std::string(name)] = milliseconds_of_step(op, result);
  }
  fmt::print("{}\n", row.dump());
}

/// Steps of a config or size in turns with those of another.
void compare(const RunConfig& config, const BenchOptions& options, const CpuInfo& cpu) {
  RunConfig other = options.against.ends_with(".yaml")
                        ? load_config<RunConfig>(options.against).value
                        : bench_config(options.against);
  other.training.precision = config.training.precision;
  const StepRatio result = bench_ratio(config, other, cpu, options.warmup, options.steps);
  if (options.json) {
    const nlohmann::ordered_json row = {{"config", config.name},
                                        {"against", other.name},
                                        {"threads", num_threads()},
                                        {"ms", result.seconds * 1e3},
                                        {"against_ms", result.other_seconds * 1e3},
                                        {"ratio", result.ratio},
                                        {"least_ratio", result.least},
                                        {"most_ratio", result.most}};
    return fmt::print("{}\n", row.dump());
  }
  fmt::print("{} {:.1f} ms/step, {} {:.1f} ms/step: {:.2f} times ({:.2f} to {:.2f})\n", config.name,
             result.seconds * 1e3, other.name, result.other_seconds * 1e3, result.ratio,
             result.least, result.most);
}

/// Checkpoints against the disk.
void bench_saving(const RunConfig& config, const BenchOptions& options, const CpuInfo& cpu) {
  const CheckpointTiming timing =
      bench_checkpoint(config, cpu, options.checkpoint, static_cast<int>(options.steps));
  if (options.json) {
    const nlohmann::ordered_json row = {{"config", config.name},
                                        {"bytes", timing.bytes},
                                        {"copy_s", timing.copy_seconds},
                                        {"save_s", timing.save_seconds},
                                        {"plain_write_s", timing.write_seconds},
                                        {"save_ratio", timing.save_ratio},
                                        {"load_s", timing.load_seconds},
                                        {"plain_read_s", timing.read_seconds},
                                        {"load_ratio", timing.load_ratio},
                                        {"step_s", timing.step_seconds},
                                        {"overlap_ratio", timing.overlap_ratio}};
    return fmt::print("{}\n", row.dump());
  }
  fmt::print("{}: a checkpoint of {:.1f} MiB, medians of {} rounds\n", config.name,
             static_cast<double>(timing.bytes) / (1 << 20), options.steps);
  fmt::print("  save {:.3f} s, plain write and fsync {:.3f} s: {:.2f} times\n", timing.save_seconds,
             timing.write_seconds, timing.save_ratio);
  fmt::print("  check and load {:.3f} s, plain read {:.3f} s: {:.2f} times\n", timing.load_seconds,
             timing.read_seconds, timing.load_ratio);
  fmt::print(
      "  a step of {:.1f} ms waits {:.1f} ms for the copy; {} steps beside the writing took "
      "{:.3f} times as long\n",
      timing.step_seconds * 1e3, timing.copy_seconds * 1e3, timing.overlapped,
      timing.overlap_ratio);
}

void bench(RunConfig config, const BenchOptions& options, const CpuInfo& cpu) {
  if (!options.precision.empty()) config.training.precision = parse_precision(options.precision);
  if (!options.against.empty()) return compare(config, options, cpu);
  if (!options.checkpoint.empty()) return bench_saving(config, options, cpu);
  if (options.device == "cuda") config.training.device = Device::cuda;
  const auto gpu = config.training.device == Device::cuda ? load_gpu_module().open(0) : nullptr;
  if (gpu && !options.json) fmt::print("{}\n", gpu->description());
  const auto result =
      bench_training(config, cpu, options.warmup, options.steps, options.instruments, gpu);
  const DType dtype = compute_dtype(config.training.precision, cpu, config.training.device);
  options.json ? print_json(config.name, dtype, result)
               : print(config.name, dtype, result, gpu ? specs_of(gpu->description()) : nullptr);
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* command =
      app.add_subcommand("bench", "Measure training steps at fixed sizes, or of a config");
  const auto options = std::make_shared<BenchOptions>();
  options->config.add_to(*command, false);
  command->add_option("--size", options->sizes,
                      "tiny, small, medium, tiny-moe, small-moe; peak memory is the process's, so "
                      "measure it alone");
  command->add_option("--against", options->against,
                      "Also step a second size or config file, in turns, and give the ratio");
  command->add_option("--checkpoint", options->checkpoint,
                      "Measure saving and loading, in this folder, which must not exist");
  command->add_option("--op", options->op,
                      "grouped_linear or moe: this op or layer by itself, against a dense one");
  command->add_option("--device", options->device, "cpu, or cuda: the first GPU")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  command->add_option("--precision", options->precision, "auto, f32 or bf16");
  command->add_option("--steps", options->steps, "measured steps")->check(CLI::PositiveNumber);
  command->add_option("--warmup", options->warmup, "steps before")->check(CLI::NonNegativeNumber);
  command->add_option("--threads", options->threads, "CPU threads; 0: one per core")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--instruments", options->instruments,
                    "Also measure what it costs to look at a step");
  command->add_flag("--json", options->json, "One JSON object a line");
  command->callback([options] {
    for (const auto& [name, value] : {std::pair{"--against", &options->against},
                                      {"--checkpoint", &options->checkpoint},
                                      {"--op", &options->op}}) {
      HG_CHECK(options->device != "cuda" || value->empty(),
               "--device cuda and {}: that is measured on the CPU alone", name);
    }
    if (options->threads > 0) set_num_threads(options->threads);
    const CpuInfo cpu = detect_cpu();
    if (!options->json)
      fmt::print("{} ({}), {} threads\n", cpu.model, cpu.to_string(), num_threads());
    if (!options->op.empty()) {
      const Precision precision =
          options->precision.empty() ? Precision::automatic : parse_precision(options->precision);
      return print_op_timings(options->op, cpu, compute_dtype(precision, cpu), options->steps,
                              options->json);
    }
    if (!options->config.path.empty()) return bench(options->config.load().value, *options, cpu);
    HG_CHECK(options->config.overrides.empty(),
             "--set {}: changes keys of a config file, but none is given",
             options->config.overrides.front());
    for (const std::string& size : options->sizes) bench(bench_config(size), *options, cpu);
  });
}

}  // namespace hg::tools
