// headgate bench: speed of training steps at fixed sizes, and where the time goes.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench_ops.h"
#include "commands.h"
#include "core/parallel.h"
#include "train/bench.h"

namespace hg::tools {
namespace {

struct BenchOptions {
  std::vector<std::string> sizes{"tiny", "small"};
  std::string precision = "auto", op;
  std::int64_t steps = 10, warmup = 3;
  int threads = 0;
  bool json = false;
};

Precision parse_precision(const std::string& name) {
  for (const auto& [value, text] : EnumNames<Precision>::values) {
    if (text == name) return value;
  }
  fail("--precision is '{}', expected auto, f32 or bf16", name);
}

void print_ops(const BenchResult& result) {
  std::vector<std::pair<std::string_view, Trace::Entry>> ops(result.trace.entries().begin(),
                                                             result.trace.entries().end());
  std::ranges::sort(
      ops, [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  const double total = result.trace.total().seconds;
  fmt::print("  {:<26} {:>6} {:>9} {:>7} {:>9} {:>8}\n", "op", "calls", "ms/step", "share",
             "GFLOP/s", "GB/s");
  const auto steps = static_cast<double>(result.steps);
  for (const auto& [name, op] : ops) {
    fmt::print("  {:<26} {:>6} {:>9.3f} {:>6.1f}% {:>9.1f} {:>8.1f}\n", name,
               op.calls / result.steps, op.seconds / steps * 1e3, 100 * op.seconds / total,
               op.cost.flops / op.seconds / 1e9, op.cost.bytes / op.seconds / 1e9);
  }
}

void print(const std::string& size, DType dtype, const BenchResult& result) {
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
  print_ops(result);
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
    row["ops_ms"][std::string(name)] = op.seconds / static_cast<double>(result.steps) * 1e3;
  }
  fmt::print("{}\n", row.dump());
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* command = app.add_subcommand("bench", "Measure training steps at fixed sizes");
  const auto options = std::make_shared<BenchOptions>();
  command->add_option("--size", options->sizes,
                      "tiny, small, medium; peak memory is the process's, so measure it alone");
  command->add_option("--op", options->op,
                      "grouped_linear: this op by itself, against a dense one");
  command->add_option("--precision", options->precision, "auto, f32 or bf16");
  command->add_option("--steps", options->steps, "measured steps")->check(CLI::PositiveNumber);
  command->add_option("--warmup", options->warmup, "steps before")->check(CLI::NonNegativeNumber);
  command->add_option("--threads", options->threads, "CPU threads; 0: one per core")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->json, "One JSON object a line");
  command->callback([options] {
    if (options->threads > 0) set_num_threads(options->threads);
    const CpuInfo cpu = detect_cpu();
    if (!options->json)
      fmt::print("{} ({}), {} threads\n", cpu.model, cpu.to_string(), num_threads());
    if (!options->op.empty()) {
      const DType dtype = compute_dtype(parse_precision(options->precision), cpu);
      return print_op_timings(options->op, cpu, dtype, options->steps, options->json);
    }
    for (const std::string& size : options->sizes) {
      RunConfig config = bench_config(size);
      config.training.precision = parse_precision(options->precision);
      const auto result = bench_training(config, cpu, options->warmup, options->steps);
      const DType dtype = compute_dtype(config.training.precision, cpu);
      options->json ? print_json(size, dtype, result) : print(size, dtype, result);
    }
  });
}

}  // namespace hg::tools
