// headgate replay: a step of a run again, to tell data and weights from hardware.
#include <cmath>

#include "commands.h"
#include "core/check.h"
#include "core/file.h"
#include "train/guard/replay.h"
#include "world.h"

namespace hg::tools {
namespace {

void print_numbers(const char* what, const StepNumbers& numbers) {
  const auto text = [](double value) {
    return std::isfinite(value) ? fmt::format("{}", value) : std::string("not finite");
  };
  fmt::print("  {:<14} loss {:<22} grad_norm {}\n", what, text(numbers.loss),
             text(numbers.grad_norm));
}

void print_replay(const Replay& replay, const ReplayOptions& options) {
  const StepRecord& record = replay.record;
  fmt::print(
      "step {} of {}: samples {} to {}, from {}\n", options.step, options.folder.string(),
      record.first_sample, replay.last_sample,
      record.checkpoint.empty() ? "the initial weights" : record.checkpoint.filename().string());
  for (const auto& [key, then, now] : replay.config)
    fmt::print("  {} was {} in the checkpoint, and is {} in the run's config.yaml\n", key, then,
               now);
  print_numbers(record.file.c_str(), replay.recorded);
  print_numbers("first replay", replay.first);
  print_numbers("second replay", replay.second);
  if (!record.earlier.empty())
    fmt::print("  of {} recorded steps before it {} repeat bit for bit\n", record.earlier.size(),
               replay.agree);
  fmt::print("{}\n", replay.sentence());
  for (const auto& document : replay.documents) {
    fmt::print(
        "  sample {}, document {}: {}\n", document.at("sample").get<std::int64_t>(),
        document.at("document").get<std::int64_t>(),
        document.at("text").dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  }
}

}  // namespace

void add_replay(CLI::App& app) {
  auto* command = app.add_subcommand(
      "replay", "One step of a run again, twice: is it the data, the weights or the hardware?");
  const auto options = std::make_shared<ReplayOptions>();
  command->add_option("run", options->folder, "Run folder, in which nothing is written")
      ->required();
  command->add_option("--step", options->step, "The step, counted from 1")
      ->required()
      ->check(CLI::PositiveNumber);
  const auto ranks = std::make_shared<WorldOptions>();
  ranks->add_to(*command);
  command->callback([options, ranks] {
    const std::string config = read_file(options->folder / "config.yaml");
    run_in_world(*ranks, config, {}, [&](const World& found, Comm& world) {
      options->world = &world;
      options->gpu = {.device = found.local_rank};
      const Replay result = replay(*options);
      if (world.rank() == 0) print_replay(result, *options);
    });
  });
}

}  // namespace hg::tools
