// headgate train: pretrains a model from a config file.
#include <cmath>
#include <filesystem>

#include "commands.h"
#include "config_options.h"
#include "train/session.h"
#include "train/stop_signals.h"
#include "world.h"

namespace hg::tools {
namespace {

void print_summary(const RunConfig& config, const SessionSummary& summary,
                   const std::string& folder) {
  fmt::print("\n{} steps, {} tokens in {:.0f} s\n", summary.steps, summary.tokens, summary.seconds);
  if (!std::isnan(summary.last_validation_loss)) {
    const double start = std::log(static_cast<double>(config.model.vocab_size));
    fmt::print("validation loss {:.4f} -> {:.4f} at step {}: {:.1f} % of ln V = {:.4f}\n",
               summary.first_validation_loss, summary.last_validation_loss,
               summary.last_validation_step, 100 * summary.last_validation_loss / start, start);
  }
  if (!summary.finished)
    fmt::print("stopped before the end, as asked: the same command continues\n");
  fmt::print("checkpoint   {}\nmetrics      {}/metrics.jsonl, and tensorboard --logdir {}\n",
             summary.checkpoint.string(), folder, folder);
}

/// Where ranks write down what they were doing when the job failed: beside the run folder, with or
/// without a slash behind its name.
std::string flight_folder(const std::string& run) {
  std::filesystem::path folder = std::filesystem::absolute(run).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  return folder.string() + ".flight";
}

}  // namespace

void add_train(CLI::App& app) {
  auto* command = app.add_subcommand("train", "Pretrain a model from a config file");
  const auto options = std::make_shared<ConfigOptions>();
  options->add_to(*command, true);
  const auto folder = std::make_shared<std::string>();
  command->add_option("--run", *folder, "Run folder; default runs/NAME");
  const auto ranks = std::make_shared<WorldOptions>();
  ranks->add_to(*command);
  const auto device = std::make_shared<std::string>();
  command->add_option("--device", *device, "cpu or cuda: as --set training.device")
      ->check(CLI::IsMember({"cpu", "cuda"}));
  command->callback([options, folder, ranks, device] {
    if (!device->empty()) options->overrides.push_back("training.device=" + *device);
    const auto loaded = options->load();
    if (folder->empty()) *folder = "runs/" + loaded.value.name;
    const std::string resolved = to_yaml(loaded.value, loaded.origins);
    const StopSignals signals;
    run_in_world(*ranks, resolved, flight_folder(*folder), [&](const World& found, Comm& world) {
      const auto summary =
          train(loaded.value, {.folder = *folder,
                               .resolved_config = resolved,
                               .console = stderr,
                               .world = &world,
                               .gpu = {.device = found.local_rank},
                               .asked_to_stop = [&] { return signals.received() != 0; }});
      if (world.rank() == 0) print_summary(loaded.value, summary, *folder);
    });
  });
}

}  // namespace hg::tools
