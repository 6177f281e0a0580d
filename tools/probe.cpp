// headgate probe: what a trained model loses when its gate is changed.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "commands.h"
#include "core/check.h"
#include "train/inspect/probe.h"

namespace hg::tools {
namespace {

struct ProbeOptions {
  std::string run, checkpoint;
  std::vector<double> gate_scale = {1, 0.8, 0.6};
  bool json = false;
};

void probe(const ProbeOptions& options) {
  std::vector<double> factors = options.gate_scale;
  for (const double factor : factors) {
    HG_CHECK(std::isfinite(factor), "--gate-scale {}: expected a finite number", factor);
  }
  // What the others are compared with comes first.
  factors.insert(factors.begin(), 1);
  factors.erase(std::remove(factors.begin() + 1, factors.end(), 1.0), factors.end());
  const TrainedRun run = open_trained_run(options.run, options.checkpoint);

  auto report = nlohmann::ordered_json::array();
  double unchanged = 0;
  const auto show = [&](const GateProbe& probe) {
    const auto& [loss, targets] = probe.evaluation;
    if (report.empty()) unchanged = loss;
    if (!options.json) {
      if (report.empty()) {
        fmt::print("{}: {} targets\n{:>10} {:>12} {:>12}\n", run.checkpoint.string(), targets,
                   "gate scale", "loss", "difference");
      }
      fmt::print("{:>10} {:>12.5f} {:>+12.5f}\n", probe.factor, loss, loss - unchanged);
      std::fflush(stdout);
    }
    report.push_back({{"gate_scale", probe.factor},
                      {"loss", loss},
                      {"difference", loss - unchanged},
                      {"targets", targets}});
  };
  probe_gate_scale(run, factors, show);
  if (options.json) fmt::print("{}\n", report.dump(2));
}

}  // namespace

void add_probe(CLI::App& app) {
  auto* command =
      app.add_subcommand("probe", "Validation loss of a trained model with its gate changed");
  const auto options = std::make_shared<ProbeOptions>();
  command->add_option("--run", options->run, "Run folder with a checkpoint")->required();
  command->add_option("--checkpoint", options->checkpoint,
                      "Folder of a checkpoint, or its name in the run; default: the newest");
  command
      ->add_option("--gate-scale", options->gate_scale,
                   "Factors of the gate's logits; 1 is always among them")
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--json", options->json, "The same as JSON");
  command->callback([options] { probe(*options); });
}

}  // namespace hg::tools
