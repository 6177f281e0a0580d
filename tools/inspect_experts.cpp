// headgate inspect-experts: how a run loaded its experts, as a picture and in numbers.
#include <filesystem>
#include <string>

#include "commands.h"
#include "core/file.h"
#include "core/log.h"
#include "train/inspect/experts_svg.h"

namespace hg::tools {
namespace {

namespace fs = std::filesystem;

struct InspectExpertsOptions {
  std::string run, output;
  std::optional<std::int64_t> step;
};

void print_table(const ExpertLook& look) {
  fmt::print("step {}\n", look.step);
  fmt::print("{:<10} {:>8} {:>8} {:>8} {:>8} {:>6} {:>9} {:>13} {:>14}\n", "", "max", "min", "CV",
             "entropy", "dead", "dropped", "top-1 prob.", "largest logit");
  for (const RoutedLayer& layer : look.layers) {
    const RouterLoad& load = layer.load;
    fmt::print("{:<10} {:>8.2f} {:>8.2f} {:>8.3f} {:>8.3f} {:>6} {:>7.2f} % {:>13.3f} {:>14.2f}\n",
               fmt::format("layer {}", layer.layer), load.max_load, load.min_load, load.load_cv,
               load.load_entropy, load.dead_experts, 100 * load.dropped, load.top_probability,
               load.largest_logit);
  }
}

void inspect(const InspectExpertsOptions& options) {
  const ExpertHistory history = read_expert_history(options.run, options.step);
  if (history.unfinished) {
    log_warn("{}:{}: half a line at the end, left by a crash: passed over",
             (fs::path(options.run) / "instruments.jsonl").string(), *history.unfinished);
  }
  const fs::path picture =
      options.output.empty() ? fs::path(options.run) / "experts.svg" : fs::path(options.output);
  write_file(picture, experts_svg(history));
  print_table(history.look());
  fmt::print("map: {}\n", picture.string());
}

}  // namespace

void add_inspect_experts(CLI::App& app) {
  auto* command =
      app.add_subcommand("inspect-experts", "How a run loaded its experts: a map and numbers");
  const auto options = std::make_shared<InspectExpertsOptions>();
  command->add_option("run", options->run, "Run folder with an instruments.jsonl")->required();
  command->add_option("--step", options->step, "Step to show; default: the newest with details");
  command->add_option("--out", options->output, "SVG file; default: RUN/experts.svg");
  command->callback([options] { inspect(*options); });
}

}  // namespace hg::tools
